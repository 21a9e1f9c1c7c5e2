"""The limit on arriving request bodies, which is separate from the limit on requests in progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.domain.errors import BusyError
from service.http.server.admission import AdmissionControl

_MIN_SIZE: Final = 16 * 1024
"""The smallest number of bytes that is counted for a body: the memory of its connection and its request."""

_TOKEN_SHARE: Final = 4
"""The divisor of the limit: the bodies of one token may use a quarter."""


class ArrivingBodies:
    """A limit on the bytes of all bodies that are arriving; the requests occupy no slots while they wait.

    Args:
        limit: Bytes of all bodies; a body of any size is admitted if it is the only one.
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
            BusyError: Too many bodies are arriving, in total or with this token; or the body has arrived and no slot
                is free.
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
