"""A token from a file or from standard input, never from an argument: the whole machine sees those."""

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO, Final

_MOST: Final = 4096
"""Bytes that are read; a token has less than a tenth of it."""


def read_token(path: str) -> str:
    """The token in the file ``path``; ``-`` is standard input.

    Raises:
        ValueError: there is none that can be read.
    """
    try:
        if path == "-":
            raw = _read(sys.stdin.buffer, "standard input")
        else:
            with Path(path).open("rb") as file:
                raw = _read(file, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    text = raw.decode(errors="replace").strip()
    if not text:
        raise ValueError(f"{path} holds no token")
    return text


def _read(file: BinaryIO, name: str) -> bytes:
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        warning = (
            f"Warning: everybody on this machine can read {name}: `chmod 600` it, better take another token."
        )
        print(warning, file=sys.stderr)  # noqa: T201 -- a command's output
    return file.read(_MOST)
