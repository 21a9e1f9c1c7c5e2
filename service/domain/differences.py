"""Differences between the topic and Postgres, which `events reconcile` finds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record of the topic, decoded as consumers decode it.

    ``state`` is the JSON text of the key's state; None for a tombstone. If consumers cannot decode the record,
    ``version`` is 0, and ``state`` is empty, or None if the record has no value.
    """

    public_key: str
    version: int
    state: bytes | None


class Kind(StrEnum):
    """How the topic differs from Postgres."""

    MISSING = "missing"
    """The topic has no state of a key that Postgres has."""
    STALE = "stale"
    """The topic has an older version of the key, or another state in the same version."""
    OUTDATED_FORM = "outdatedForm"
    """The record of the current version lacks members that later releases have added, and is otherwise equal."""
    PHANTOM = "phantom"
    """The topic has a key, or a version of a key, that Postgres does not have."""
    WRONGLY_PRESENT = "wrongly present"
    """The topic has a key that is deleted in Postgres."""
    PARKED = "parked"
    """Kafka rejects an event of the key, which blocks its later events."""


class Difference(NamedTuple):  # a tuple: a row of the temporary database
    """A key whose state in the topic differs from that in Postgres.

    Attributes:
        kind: How they differ.
        public_key: The public key.
        version_in_postgres: The version in Postgres; 0 if Postgres does not have the key.
        version_in_topic: The version of the key's last record; 0 if there is none or it cannot be decoded.
        newest_version: The highest version of all records of the key; 0 if there is none.
        organization_id: The organization of a phantom in the topic; None for other kinds, or if it is unknown.
        project_id: The project of a phantom in the topic; None as for ``organization_id``.
    """

    kind: Kind
    public_key: str
    version_in_postgres: int
    version_in_topic: int
    newest_version: int
    organization_id: int | None = None
    project_id: int | None = None
