"""What is held, in a file of this machine: so that a restart reads only what has come since.

The form: a name, the blake2b digest of all that follows, a line of JSON, the keys that live, those that do not.
"""

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from service.consumer.errors import SnapshotError

_NAME: Final = b"projectkeys snapshot 1\n"
"""The number grows with a change of the form: an older release must not guess."""

_DIGEST: Final = 64
_STATE: Final = struct.Struct(">16sI")
_DELETED: Final = struct.Struct(">16sQ")
_AT_ONCE: Final = 2000
"""Keys written together: some megabyte."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was held of a topic.

    ``cluster`` is Kafka's id of the cluster; ``positions`` has for each partition the offset of the next record;
    ``as_of`` is when that was all there was (Unix time, seconds). ``states`` and ``deleted`` are a `Table`'s.
    """

    topic: str
    cluster: str
    positions: dict[int, int]
    as_of: float
    states: dict[bytes, bytes]
    deleted: dict[bytes, int]


def write(path: Path, snapshot: Snapshot) -> None:
    """Put the file in place of the one that is there, whole or not at all.

    Raises:
        OSError: it cannot be written; the one that was there still is.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            digest = hashlib.blake2b()
            file.write(_NAME + bytes(_DIGEST))
            for piece in _pieces(snapshot):
                digest.update(piece)
                file.write(piece)
            file.seek(len(_NAME))
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_directory(path.parent)


def _pieces(snapshot: Snapshot) -> Iterator[bytes]:
    head = {
        "topic": snapshot.topic,
        "cluster": snapshot.cluster,
        "positions": {str(partition): offset for partition, offset in snapshot.positions.items()},
        "asOf": snapshot.as_of,
        "states": len(snapshot.states),
        "deleted": len(snapshot.deleted),
    }
    yield json.dumps(head).encode() + b"\n"
    states = iter(snapshot.states.items())
    while some := list(islice(states, _AT_ONCE)):
        yield b"".join(part for key, state in some for part in (_STATE.pack(key, len(state)), state))
    yield b"".join(_DELETED.pack(key, version) for key, version in snapshot.deleted.items())


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> Snapshot | None:
    """What the file holds; None if there is none.

    Raises:
        SnapshotError: it is damaged, or no such file.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_NAME)) != _NAME:
                raise SnapshotError("it is no snapshot that this release can read")
            digest = file.read(_DIGEST)
            body = file.tell()
            if hashlib.file_digest(file, hashlib.blake2b).digest() != digest:
                raise SnapshotError("it is damaged: its checksum is not that of what is in it")
            file.seek(body)
            return _parse(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"it cannot be read: {error}") from None


def _parse(file: BinaryIO) -> Snapshot:
    """Read what the checksum has proven to be what was written."""
    head: dict[str, Any] = json.loads(file.readline())
    states = {}
    for _ in range(head["states"]):
        key, length = _STATE.unpack(file.read(_STATE.size))
        states[key] = file.read(length)
    deleted = dict(_DELETED.unpack(file.read(_DELETED.size)) for _ in range(head["deleted"]))
    positions = {int(partition): offset for partition, offset in head["positions"].items()}
    return Snapshot(head["topic"], head["cluster"], positions, head["asOf"], states, deleted)
