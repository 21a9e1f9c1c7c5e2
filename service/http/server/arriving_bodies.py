"""Request bodies that have not arrived: limited apart from the requests in progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.domain.errors import BusyError
from service.http.server.admission import AdmissionControl

_MIN_SIZE: Final = 16 * 1024
"""Bytes that each body counts at least: its connection and its request need as much."""

_TOKEN_SHARE: Final = 4
"""The bodies of one token may use one part in this many of the limit."""


class ArrivingBodies:
    """Limits the bytes of the bodies that are arriving; their requests occupy no slot meanwhile.

    Args:
        limit: Bytes of all bodies; a single body is admitted whatever its size.
        admission: Frees the slot of a request while its body arrives.
    """

    def __init__(self, limit: int, admission: AdmissionControl) -> None:
        self._limit = limit
        self._admission = admission
        self._size = 0
        self._size_by_token: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def admit(self, token_id: int, size: int) -> Iterator[None]:
        """Admit a body of at most ``size`` bytes, which arrives within the block.

        Raises:
            BusyError: Too many bodies are arriving, of all tokens or of this one; or the body has arrived and no
                slot is free.
        """
        size = max(size, _MIN_SIZE)
        token_size = self._size_by_token.get(token_id, 0)
        if self._size and self._size + size > self._limit:
            raise BusyError("too many bodies are arriving")
        if token_size and token_size + size > self._limit // _TOKEN_SHARE:
            raise BusyError("too many bodies of one token are arriving")
        self._size += size
        self._size_by_token[token_id] = token_size + size
        self._count += 1
        with self._admission.body_arriving():
            try:
                yield
            finally:
                self._count -= 1
                self._size -= size
                self._size_by_token[token_id] -= size
                if not self._size_by_token[token_id]:
                    del self._size_by_token[token_id]
