"""Stores the content of the table in a local file, so that a restart reads only newer records.

File format: a magic line, the blake2b digest of everything after it, a line of JSON, the existing keys, and the
deleted keys.
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

from projectkeys_consumer.errors import SnapshotError

_MAGIC: Final = b"projectkeys snapshot 1\n"
"""The number increases with each incompatible change of the format."""

_DIGEST_BYTES: Final = 64
_STATE: Final = struct.Struct(">16sI")
_DELETED: Final = struct.Struct(">16sQ")
_CHUNK_KEYS: Final = 2000
"""Keys per write: about 1 MB."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a table.

    ``cluster`` is Kafka's cluster id; ``positions`` has the offset of the next record of each partition; the content
    is complete as of ``as_of`` (Unix time, seconds). ``states`` and ``deleted`` are those of a `KeyTable`.
    """

    topic: str
    cluster: str
    positions: dict[int, int]
    as_of: float
    states: dict[bytes, bytes]
    deleted: dict[bytes, int]


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace the file atomically.

    Raises:
        OSError: the file cannot be written; the previous one is unchanged.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            digest = hashlib.blake2b()
            file.write(_MAGIC + bytes(_DIGEST_BYTES))
            for chunk in _encode(snapshot):
                digest.update(chunk)
                file.write(chunk)
            file.seek(len(_MAGIC))
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_directory(path.parent)


def _encode(snapshot: Snapshot) -> Iterator[bytes]:
    header = {
        "topic": snapshot.topic,
        "cluster": snapshot.cluster,
        "positions": {str(partition): offset for partition, offset in snapshot.positions.items()},
        "asOf": snapshot.as_of,
        "states": len(snapshot.states),
        "deleted": len(snapshot.deleted),
    }
    yield json.dumps(header).encode() + b"\n"
    states = iter(snapshot.states.items())
    while chunk := list(islice(states, _CHUNK_KEYS)):
        yield b"".join(part for key, state in chunk for part in (_STATE.pack(key, len(state)), state))
    yield b"".join(_DELETED.pack(key, version) for key, version in snapshot.deleted.items())


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_snapshot(path: Path) -> Snapshot | None:
    """Read a snapshot file; return None if there is no such file.

    Raises:
        SnapshotError: the file is damaged, of another format, or not readable.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise SnapshotError("it is not a snapshot in the format of this release")
            digest = file.read(_DIGEST_BYTES)
            if hashlib.file_digest(file, hashlib.blake2b).digest() != digest:
                raise SnapshotError("it is damaged: its checksum does not match")
            file.seek(len(_MAGIC) + _DIGEST_BYTES)
            return _decode(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"it cannot be read: {error}") from None


def _decode(file: BinaryIO) -> Snapshot:
    """Decode the content, whose checksum has been verified."""
    header: dict[str, Any] = json.loads(file.readline())
    states = {}
    for _ in range(header["states"]):
        key, length = _STATE.unpack(file.read(_STATE.size))
        states[key] = file.read(length)
    deleted = dict(_DELETED.unpack(file.read(_DELETED.size)) for _ in range(header["deleted"]))
    positions = {int(partition): offset for partition, offset in header["positions"].items()}
    return Snapshot(header["topic"], header["cluster"], positions, header["asOf"], states, deleted)
