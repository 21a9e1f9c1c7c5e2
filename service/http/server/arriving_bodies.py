"""Request bodies that have not arrived yet: bounded apart from the requests that are being handled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.domain.errors import BusyError
from service.http.server.admission import AdmissionControl

_SMALLEST: Final = 16 * 1024
"""Bytes that a body counts at least: its connection and its request need as much."""

_TOKEN_PART: Final = 4
"""A token's bodies may have this part of the limit."""


class ArrivingBodies:
    """The bodies that are arriving; a request holds no place among the concurrent ones meanwhile.

    Args:
        limit: bytes of all of them; a single body is always admitted, however large it is.
        room: the concurrent requests.
    """

    def __init__(self, limit: int, admission: AdmissionControl) -> None:
        self._limit = limit
        self._room = admission
        self._size = 0
        self._by_token: dict[int, int] = {}

    @contextmanager
    def admit(self, token_id: int, size: int) -> Iterator[None]:
        """Admit a body of ``size`` bytes at most, until the end of the block, and take the request's place again.

        Raises:
            BusyError: too many bodies are arriving, of all tokens or of this one; or there is no place any more.
        """
        size = max(size, _SMALLEST)
        of_token = self._by_token.get(token_id, 0)
        if self._size and self._size + size > self._limit:
            raise BusyError("too many bodies are arriving")
        if of_token and of_token + size > self._limit // _TOKEN_PART:
            raise BusyError("too many bodies of one token are arriving")
        self._size += size
        self._by_token[token_id] = of_token + size
        self._room.arriving += 1
        try:
            yield
        finally:
            self._room.arriving -= 1
            self._size -= size
            self._by_token[token_id] -= size
            if not self._by_token[token_id]:
                del self._by_token[token_id]
        if self._room.free < 0:
            raise BusyError("no place for a request whose body has arrived")
