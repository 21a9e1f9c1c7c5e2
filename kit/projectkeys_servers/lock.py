"""A lock on a directory, which a process and its children hold."""

import asyncio
import fcntl
import os
import time
from pathlib import Path

from projectkeys_servers.errors import EmbeddedServerError

_POLL = 0.05  # seconds between two attempts; a blocking flock() would need a thread


async def take(directory: Path, *, limit: float) -> int:
    """Lock a directory; create it if it does not exist.

    A server inherits the descriptor, so the remaining processes of a killed server still hold the lock.

    Args:
        directory: The directory, whose file `lock` is locked.
        limit: Seconds to wait for the lock.

    Returns:
        An open file descriptor; the lock is released when every copy of it is closed.

    Raises:
        EmbeddedServerError: Another process still holds the lock after ``limit`` seconds.
    """
    descriptor = _open(directory)
    try:
        await _flock(descriptor, directory, deadline=time.monotonic() + limit)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(directory: Path) -> int:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


async def _flock(descriptor: int, directory: Path, *, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 20, 0).decode() or "unknown"
                raise EmbeddedServerError(f"{directory} is in use by the process {holder}.") from None
            await asyncio.sleep(_POLL)
        else:
            return
