"""Idempotency keys and the stored results of their requests."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """An idempotency key of a request.

    Attributes:
        token_id: The token of the request; each token has its own idempotency keys.
        text: The value of the header ``Idempotency-Key``.
        fingerprint: The SHA-256 digest of the request; the same text with another digest is an error of the client.
    """

    token_id: int
    text: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The result of the first request with an idempotency key.

    ``target_id`` is the id of the row that it created, ``event_id`` the id of its event or None.
    """

    fingerprint: bytes
    target_id: int
    event_id: UUID | None
