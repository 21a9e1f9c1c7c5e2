"""Idempotency keys and the stored results of their requests."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """An idempotency key of a client.

    ``text`` identifies a request among the requests of a token. ``fingerprint`` is the SHA-256 digest of the request:
    the same text with another fingerprint is an error of the client.
    """

    token_id: int
    text: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The result of the first request with an idempotency key: the id of the created row, and of its event."""

    fingerprint: bytes
    target_id: int
    event_id: UUID | None
