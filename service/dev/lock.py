"""A lock on a directory, held by every process that has inherited it and by no one longer."""

import asyncio
import fcntl
import os
import time
from pathlib import Path

from service.dev.errors import EmbeddedServerError

_POLL = 0.05  # seconds; the kernel tells nobody when a lock becomes free


async def take(directory: Path, *, patience: float) -> int:
    """Take the lock of a directory, and make the directory first if it is not there.

    A server inherits the descriptor: what is left of one that was killed keeps the next one waiting.

    Args:
        directory: Whose file `lock` is locked.
        patience: Seconds to wait for the one who holds it.

    Returns:
        An open file descriptor; the lock is free when each copy of it is closed.

    Raises:
        EmbeddedServerError: Another process holds the lock all this time.
    """
    descriptor = _open(directory)
    try:
        await _flock(descriptor, directory, deadline=time.monotonic() + patience)
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
                raise EmbeddedServerError(
                    f"{directory} is in use; the process that locked it was {holder}."
                ) from None
            await asyncio.sleep(_POLL)
        else:
            return
