"""What callers asked for and what they were told."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a call does to a key."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Outcome(StrEnum):
    """What a caller knows after a call.

    ``UNKNOWN``: a 5xx, a broken connection or no answer in time; the change may have happened, or may still.
    """

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose keys a caller works on."""

    organization_id: int
    project_id: int
    keys_path: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call; times are seconds of the monotonic clock.

    Attributes:
        action: What was asked for.
        tenant: The project it was asked of.
        label: The name that it gives the key, unlike every other change's; "" for a deletion.
        began: Before the first byte was sent.
        ended: After the last byte of the answer, or when the caller gave up.
        outcome: What the caller knows.
        status: Of the answer; 0 if there was none.
        key: The public key; "" where a creation was not answered.
        event_id: As the answer names it.
        once: The idempotency key; calls with the same one share their label.
        secret: What the answer gave away, and nothing else may.
        reason: Why there is no answer.
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
    once: str = ""
    secret: str = ""
    reason: str = ""
