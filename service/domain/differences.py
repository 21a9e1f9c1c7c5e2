"""Differences between the topic and Postgres."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record of the topic, decoded as consumers decode it.

    ``state`` is the JSON of the key's state; None for a tombstone. For a record that consumers cannot decode,
    ``version`` is 0 and ``state`` is empty, or None if the record has no value.
    """

    public_key: str
    version: int
    state: bytes | None


class Kind(StrEnum):
    """How the topic differs from Postgres."""

    MISSING = "missing"
    """The topic does not have a key that Postgres has."""
    STALE = "stale"
    """The topic has an older version of the key, or another state in the same version."""
    PHANTOM = "phantom"
    """The topic has a key, or a version of a key, that Postgres does not have."""
    WRONGLY_PRESENT = "wrongly present"
    """The topic has a key that is deleted in Postgres."""
    PARKED = "parked"
    """Kafka rejects an event of the key, which blocks its later events."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose state in the topic differs from that in Postgres.

    Attributes:
        kind: How they differ.
        public_key: The public key.
        version_in_postgres: The version in Postgres; 0 if Postgres does not have the key.
        version_in_topic: The version of the key's last record; 0 if there is none, or if it cannot be decoded.
        newest_version: The greatest version of all records of the key.
        organization_id: For a phantom: its organization according to the topic; None if its records have none.
        project_id: For a phantom: its project, likewise.
    """

    kind: Kind
    public_key: str
    version_in_postgres: int
    version_in_topic: int
    newest_version: int
    organization_id: int | None = None
    project_id: int | None = None
