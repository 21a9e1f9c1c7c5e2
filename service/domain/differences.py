"""The topic beside Postgres: what a record of a key says, and in what the two can differ."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record of a key, as consumers take it.

    ``state`` is the JSON of its state, None for a key that is gone. Where consumers can make nothing of it,
    ``version`` is 0 and ``state`` is empty, or None if there is no value at all.
    """

    public_key: str
    version: int
    state: bytes | None


class Kind(StrEnum):
    """In what the topic differs from Postgres."""

    MISSING = "missing"
    """Postgres has the key, the topic does not tell of it."""
    STALE = "stale"
    """The topic tells of an older version, or of another state in the same one."""
    PHANTOM = "phantom"
    """The topic tells of a key, or of a version, that Postgres does not know."""
    WRONGLY_PRESENT = "wrongly present"
    """The topic has a key that Postgres knows to be deleted."""
    PARKED = "parked"
    """Kafka refuses an event of the key; what is told of it later waits behind that one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of which the topic and Postgres say different things.

    Attributes:
        kind: In what they differ.
        public_key: The key.
        known: Its version in Postgres; 0 if there is no such key.
        told: The version that the topic's last record of it tells; 0 if there is none that can be read.
        newest: The greatest version that the topic tells of.
        organization_id: Of a phantom, whose the topic says it is; None where it does not say so.
        project_id: As well.
    """

    kind: Kind
    public_key: str
    known: int
    told: int
    newest: int
    organization_id: int | None = None
    project_id: int | None = None
