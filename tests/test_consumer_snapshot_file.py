"""The consumer kit's snapshot file: its format, and how it is replaced."""

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from projectkeys_consumer.errors import SnapshotError
from projectkeys_consumer.snapshot import Snapshot, read_snapshot, write_snapshot

_SNAPSHOT: Final = Snapshot(
    topic="project-keys",
    cluster="cluster-1",
    positions={0: 7, 1: 0},
    as_of=1764000000.5,
    states={bytes.fromhex("889a038dcce86f89a24e2c5bcf7b2e41"): bytes(7) + b'\x03{"id":"889a"}'},
    deleted={bytes.fromhex("00112233445566778899aabbccddeeff"): 9},
)

_FILE_OF_RELEASE_0_1_0: Final = (
    "cHJvamVjdGtleXMgc25hcHNob3QgMQolj7ax8duRSL8SllEEbbhmIYa2aKly2itjUPMGZNCtxb6zQWSw05QMFL9I2XRBVCe1"
    "wLxB883bZb0UYmhrJIQeeyJ0b3BpYyI6ICJwcm9qZWN0LWtleXMiLCAiY2x1c3RlciI6ICJjbHVzdGVyLTEiLCAicG9zaXRp"
    "b25zIjogeyIwIjogNywgIjEiOiAwfSwgImFzT2YiOiAxNzY0MDAwMDAwLjUsICJzdGF0ZXMiOiAxLCAiZGVsZXRlZCI6IDF9"
    "CoiaA43M6G+Jok4sW897LkEAAAAVAAAAAAAAAAN7ImlkIjoiODg5YSJ9ABEiM0RVZneImaq7zN3u/wAAAAAAAAAJ"
)
"""The same content, written by the first release; base64."""


def test_the_format_is_that_of_the_first_release(tmp_path: Path) -> None:
    """A file that it wrote is read, and the same content gives the same bytes."""
    file = tmp_path / "keys"
    file.write_bytes(base64.b64decode(_FILE_OF_RELEASE_0_1_0))
    assert read_snapshot(file) == _SNAPSHOT
    write_snapshot(file, _SNAPSHOT)
    assert base64.b64encode(file.read_bytes()).decode() == _FILE_OF_RELEASE_0_1_0


def test_a_snapshot_is_replaced_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk is full, the previous file is unchanged and no temporary file remains."""
    file = tmp_path / "keys"
    write_snapshot(file, _SNAPSHOT)
    assert read_snapshot(file) == _SNAPSHOT

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_snapshot(file, replace(_SNAPSHOT, states={}))
    assert read_snapshot(file) == _SNAPSHOT
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_read_raises_an_error(tmp_path: Path) -> None:
    """A directory in its place, for example; a missing file returns None."""
    with pytest.raises(SnapshotError, match="it cannot be read"):
        read_snapshot(tmp_path)
    assert read_snapshot(tmp_path / "none") is None
