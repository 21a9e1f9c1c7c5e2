"""Decides when a key that the edge does not know does not exist.

An event reaches the topic some milliseconds after its commit, and the edge reads it some milliseconds later. A relay
that asks in between must not receive null, which it would keep for minutes. A key does not exist if, at least
`GRACE` seconds after this process was first asked for it, the edge has read everything that was in the topic when the
request arrived. There is no cache of keys that do not exist: each request is decided by itself.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from projectkeys_consumer import NotReadyError
from service.edge.client_keys import KeySource

GRACE: Final = 1.0
"""Seconds; covers the time from the commit of a key to its event in the topic."""

_MAX_FIRST_ASKED: Final = 100_000
"""Keys whose first request is remembered, about 15 MB; for others, the next request counts as the first."""


class UnknownKeys:
    """The times at which unknown keys were first asked for.

    Args:
        source: The copy of the topic.
        clock: Returns seconds of a monotonic clock.
    """

    def __init__(self, source: KeySource, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._first_asked: OrderedDict[str, float] = OrderedDict()
        self._kafka_responds = True

    def __len__(self) -> int:
        return len(self._first_asked)

    async def find_absent(
        self, public_keys: Sequence[str], *, max_wait: float, answers_others: bool = False
    ) -> frozenset[str]:
        """Return those of ``public_keys``, none of which was known, that certainly do not exist.

        Args:
            public_keys: Unknown keys.
            max_wait: The longest wait in seconds.
            answers_others: Whether the caller also has keys that are known, whose answer must not wait while Kafka is
                unavailable.
        """
        self._remember(public_keys)
        waits = self._kafka_responds or not answers_others
        if not await self._catch_up(max_wait if waits else 0.0):
            return frozenset()
        return frozenset(self._asked_before_grace(public_keys))

    async def wait_for_key(self, public_key: str, *, max_wait: float) -> None:
        """Wait until an unknown key is known or certainly does not exist, at most ``max_wait`` seconds."""
        self._remember([public_key])
        if any(self._asked_before_grace([public_key])):
            await self._catch_up(max_wait)
            return
        try:
            await self._source.wait_for(public_key, 1, max_wait)
        except TimeoutError:
            return

    def _remember(self, public_keys: Iterable[str]) -> None:
        now = self._clock()
        for public_key in public_keys:
            self._first_asked.setdefault(public_key, now)
        while len(self._first_asked) > _MAX_FIRST_ASKED:
            self._first_asked.popitem(last=False)

    def _asked_before_grace(self, public_keys: Iterable[str]) -> Iterable[str]:
        latest = self._clock() - GRACE
        return (key for key in public_keys if self._first_asked.get(key, latest + GRACE) <= latest)

    async def _catch_up(self, max_wait: float) -> bool:
        """Return whether everything that is in the topic now was read within ``max_wait`` seconds."""
        try:
            await self._source.catch_up(max_wait)
        except NotReadyError:
            self._kafka_responds = False
            return False
        self._kafka_responds = True
        return True
