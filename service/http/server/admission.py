"""How many requests are answered at a time, and what becomes of the others."""

import asyncio
from collections import deque
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

_COME_AGAIN: Final = 1.0
"""Seconds, as Retry-After says."""

_LOOK_EVERY: Final = 0.02
_REFUSALS: Final = 50
"""Refusals from one look to the next, 2 500 a second: a crowd's all at once would hold everything up for seconds."""

_SECOND_TRIES: Final = 20
"""How many of those whose time has come are heard at each look: a thousand a second, a tenth of one processor."""


class AdmissionControl:
    """Room for ``most`` requests.

    Whoever finds none is told so at once; of a crowd, one after the other. A connection that was told is not read
    again before the time that it was told, unless there is room: clients who heed no Retry-After would otherwise
    keep the process busy with refusing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        """Requests being answered."""
        self.waiting = 0
        """Those of them whose work is done and that wait for Kafka: they cost nothing, so they take no room."""
        self.arriving = 0
        """Those of them whose body has not arrived: they wait for their client alone, so they take no room."""
        self._budget = _REFUSALS
        self._line: deque[asyncio.Future[None]] = deque()
        self._turned_away: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._refused = 0
        self._closing = False

    @property
    def free(self) -> int:
        """For how many more requests there is room; less than one for none."""
        return self.most - self.taken + self.waiting + self.arriving

    async def enter(self) -> bool:
        """Whether there is room for a request; False as soon as it is its turn to be refused."""
        while self.free < 1 and self._budget < 1 and not self._closing:
            again: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(again)
            await again
        if self.free > 0:
            return True
        self._budget -= 1
        self._refused += 1
        return False

    async def turn_away(self) -> None:
        """Wait, after a refusal, until the connection may be read again."""
        if self._closing:
            return
        loop = asyncio.get_running_loop()
        again: asyncio.Future[None] = loop.create_future()
        self._turned_away.append((loop.time() + _COME_AGAIN, again))
        await again

    def close(self) -> None:
        """Let nobody wait any more: the process is about to end."""
        self._closing = True
        _let(self._line, len(self._line))
        self._hear(len(self._turned_away))

    async def hear(self) -> None:
        """Have connections read that were turned away, in their order, until cancelled; log how many were refused."""
        loop, told = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            now = loop.time()
            self._budget = _REFUSALS
            _let(self._line, min(len(self._line), max(self.free, _REFUSALS)))
            due = 0
            while due < min(_SECOND_TRIES, len(self._turned_away)) and self._turned_away[due][0] <= now:
                due += 1
            # A few free places are about to be taken again by those who had them.
            self._hear(max(due, min(self.free - self.most // 4, len(self._turned_away))))
            if self._refused and now - told > _COME_AGAIN:
                _log.warning("requests_refused", number=self._refused, being_answered=self.taken)
                self._refused, told = 0, now

    def _hear(self, number: int) -> None:
        _let(deque(self._turned_away.popleft()[1] for _ in range(number)), number)


def _let(waiting: deque[asyncio.Future[None]], number: int) -> None:
    for _ in range(number):
        again = waiting.popleft()
        if not again.done():
            again.set_result(None)
