"""What a record of the topic tells; most of what can be in a topic tells nothing."""

import re
from typing import Any, Final, NamedTuple

from service.consumer.errors import MalformedError
from service.consumer.state import decode

_DELETED: Final = b"projectkey.deleted"
_TYPES: Final = frozenset({b"projectkey.created", b"projectkey.updated", _DELETED})
_MAJOR: Final = b":1"
"""How the names of the schemas end that this release can read."""

_PUBLIC_KEY: Final = re.compile(rb"[0-9a-f]{32}")
_VERSION: Final = re.compile(rb"[1-9][0-9]{0,17}")


class Told(NamedTuple):
    """A version of a key: ``value`` is its state, as it came; None: it is gone. ``key`` has 16 bytes."""

    key: bytes
    version: int
    value: bytes | None


def told_by(record: Any) -> Told | None:
    """What a record of aiokafka tells; None for types that are not known, and for the service's own marks.

    Raises:
        MalformedError: it is of a type that is known and says nothing that can be understood.
    """
    if record.key is None or record.key.startswith(b"_"):
        return None
    headers = dict(record.headers)
    kind = headers.get("ce_type")
    if kind not in _TYPES:
        return None
    if not _PUBLIC_KEY.fullmatch(record.key):
        raise MalformedError("the record's key is not a public key")
    key = bytes.fromhex(record.key.decode())
    if record.value is None:
        return Told(key, _version_of_tombstone(kind, headers), None)
    if not headers.get("ce_dataschema", _MAJOR).endswith(_MAJOR):
        raise MalformedError("it is of a later major version than this release can read")
    state = decode(record.value)
    if state.public_key != record.key.decode():
        raise MalformedError("its value is of another key")
    return Told(key, state.version, None if kind == _DELETED else record.value)


def _version_of_tombstone(kind: bytes, headers: dict[str, bytes]) -> int:
    version = headers.get("ce_keyversion", b"")
    if kind != _DELETED or not _VERSION.fullmatch(version):
        raise MalformedError("it has no value and is no tombstone")
    return int(version)
