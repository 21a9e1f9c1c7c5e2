"""The requests of the load generator and their outcomes."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a request does to a key."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Outcome(StrEnum):
    """What a client knows after a request.

    ``UNKNOWN``: a 5xx, a broken connection or a time-out; the change may have been committed, or may still be.
    """

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tenant:
    """The project whose keys a request concerns."""

    organization_id: int
    project_id: int
    keys_path: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request and its outcome; times are seconds of the monotonic clock.

    Attributes:
        action: What was requested.
        tenant: The project in the request's path.
        label: The name that the request gives the key, different from that of every other change; "" for a deletion.
        began: Before the first byte was sent.
        ended: After the last byte of the response, or when the client gave up.
        outcome: What the client knows.
        status: The HTTP status; 0 without a response.
        key: The public key; "" for a creation without a response.
        event_id: The event id in the response.
        idempotency_key: Requests with the same one have the same label.
        secret: The secret half of the key in the response, which must not occur anywhere else.
        reason: Why there is no response.
    """

    action: Action
    tenant: Tenant
    label: str
    began: float
    ended: float
    outcome: Outcome
    status: int = 0
    key: str = ""
    event_id: str = ""
    idempotency_key: str = ""
    secret: str = ""
    reason: str = ""
