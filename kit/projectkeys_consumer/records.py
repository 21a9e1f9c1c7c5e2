"""Parses the records of the topic; unknown types are ignored."""

import re
from typing import Any, Final, NamedTuple

from projectkeys_consumer.errors import MalformedRecordError
from projectkeys_consumer.state import check_value

_DELETED: Final = b"projectkey.deleted"
_TYPES: Final = frozenset({b"projectkey.created", b"projectkey.updated", _DELETED})
_MAJOR_VERSION: Final = b":1"
"""The suffix of the schema names that this release can read."""

_PUBLIC_KEY: Final = re.compile(rb"[0-9a-f]{32}")
_VERSION: Final = re.compile(rb"[1-9][0-9]{0,17}")


class KeyUpdate(NamedTuple):
    """One version of a key: ``key`` has 16 bytes; ``value`` is the undecoded state, None for a deletion."""

    key: bytes
    version: int
    value: bytes | None


def parse_record(record: Any) -> KeyUpdate | None:
    """Parse a record of aiokafka; return None for unknown types and for the service's control records.

    Raises:
        MalformedRecordError: the type is known, but the record does not match its schema.
    """
    if record.key is None or record.key.startswith(b"_"):
        return None
    event_type = _header(record, "ce_type")
    if event_type not in _TYPES:
        return None
    if record.value is None:
        return _parse_tombstone(record, event_type)
    schema = _header(record, "ce_dataschema")
    if schema is not None and not schema.endswith(_MAJOR_VERSION):
        raise MalformedRecordError("the schema has a later major version than this release can read; upgrade the kit")
    public_key, version = check_value(record.value)
    if public_key != record.key:
        raise MalformedRecordError("the value's id is not the record's key")
    key = bytes.fromhex(record.key.decode())
    return KeyUpdate(key, version, None if event_type == _DELETED else record.value)


def _header(record: Any, name: str) -> bytes | None:
    """Return the first header with this name, None if there is none or it is null; quicker than a dict of all."""
    value: bytes | None
    for candidate, value in record.headers:
        if candidate == name:
            return value
    return None


def _parse_tombstone(record: Any, event_type: bytes | None) -> KeyUpdate:
    version = _header(record, "ce_keyversion") or b""
    if event_type != _DELETED or not _VERSION.fullmatch(version):
        raise MalformedRecordError("the record has no value and is not a valid tombstone")
    if not _PUBLIC_KEY.fullmatch(record.key):
        raise MalformedRecordError("the record's key is not a public key")
    return KeyUpdate(bytes.fromhex(record.key.decode()), int(version), None)
