"""What makes a request that is sent twice happen once."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's name for one request: ``text`` is unique among the requests of a token.

    ``fingerprint`` is the sha256 of the request: under the same text another one is a mistake.
    """

    token_id: int
    text: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What the first request with a key made: the row's id in its table, and the event that told of it."""

    fingerprint: bytes
    target_id: int
    event_id: UUID | None
