"""`ProjectKeys`: every client key in memory, as fresh as Kafka tells."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, Unpack

from service.consumer.errors import NotReadyError
from service.consumer.feed import Feed
from service.consumer.follower import Follower
from service.consumer.options import Security, client_options
from service.consumer.progress import Lag
from service.consumer.replica import Counts
from service.consumer.state import Change, KeyState, packed
from service.consumer.waiting import Waiting

_log = logging.getLogger(__name__)

_HOUR: Final = 3600.0

OnChange = Callable[[Change], Awaitable[None]]


class ProjectKeys:
    """Every client key of the topic, for the time of an ``async with`` block; for one event loop.

    It reads every partition to its end and then follows. It joins no consumer group and keeps nothing in Kafka.
    Kafka may be away at any time, also at the start: reading goes on when it is back, and what is known is served
    meanwhile.

    Args:
        bootstrap_servers: `host:port` of some of the brokers, with commas between or as a sequence.
        topic: where the events are.
        client_id: the name under which the brokers' logs and quotas know this process.
        snapshot: a file that keeps what is held between runs, so that a start reads only what has come since; it is
            written every ``snapshot_every`` seconds and at the end. One that is damaged, too old or of another
            topic or cluster is left alone, with a warning in the log, and everything is read. None: no file.
        snapshot_every: seconds.
        snapshot_max_age: seconds for which a reader may have been away and still read on from where it was: less than
            the topic's ``delete.retention.ms``, after which the tombstones of deleted keys are gone. The default is
            half of Kafka's own default of that.
        **security: what the cluster asks of its readers, see `Security`.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str | Sequence[str],
        topic: str = "project-keys",
        client_id: str = "projectkeys-consumer",
        snapshot: str | Path | None = None,
        snapshot_every: float = 300.0,
        snapshot_max_age: float = 12 * _HOUR,
        **security: Unpack[Security],
    ) -> None:
        self._topic = topic
        self._snapshot_every = snapshot_every
        self._follower = Follower(
            client_options(bootstrap_servers, client_id=client_id, security=security),
            topic,
            file=None if snapshot is None else Path(snapshot),
            most_age=snapshot_max_age,
            changed=self._changed,
        )
        self._replica = self._follower.replica
        self._waiting = Waiting(self._replica.version)
        self._feeds: list[Feed] = []
        self._tasks: list[asyncio.Task[None]] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read; `ready` waits for the end of the topic."""
        self._tasks = []
        self._start(self._follower.run())
        self._start(self._follower.keep_saving(self._snapshot_every))
        for feed in self._feeds:
            self._start(feed.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading, and write the snapshot."""
        tasks, self._tasks = self._tasks or [], None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.save()
        except OSError as problem:
            _log.warning("The snapshot cannot be written: %s", problem)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "outside the block nothing runs"
        self._tasks.append(asyncio.create_task(work))

    async def ready(self, timeout: float = 60.0) -> None:  # noqa: ASYNC109 -- a reader of a million keys knows how long it may take
        """Wait until everything is known that was in Kafka at the start.

        Args:
            timeout: seconds.

        Raises:
            NotReadyError: it took longer; the text tells what is in the way.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._follower.ready.wait()
        except TimeoutError:
            problem = self.problem or f"{self.lag().records} records of {self._topic} are still to be read"
            raise NotReadyError(f"not ready after {timeout:g} s: {problem}") from None

    @property
    def is_ready(self) -> bool:
        """Whether everything that was in Kafka at the start is known."""
        return self._follower.ready.is_set()

    @property
    def problem(self) -> str | None:
        """What keeps it from reading on just now; None if nothing does."""
        return self._follower.problem

    def get(self, public_key: str) -> KeyState | None:
        """The key in the newest version that is known; None if there is no such key.

        As soon as a snapshot is loaded it answers from that, however long Kafka is away; `lag` tells how old it is.

        Raises:
            NotReadyError: not every key is known yet, so that None would say nothing.
        """
        if not self._replica.complete:
            raise NotReadyError(self.problem or "the topic is being read")
        key = packed(public_key)
        return None if key is None else self._replica.table.get(key)

    async def wait_for(self, public_key: str, version: int, timeout: float = 10.0) -> KeyState | None:  # noqa: ASYNC109 -- how long is the caller's to say
        """The key once ``version`` of it, or a newer one, is known; None if it is deleted by then.

        Args:
            public_key: 32 lower-case hex digits.
            version: as an event or an answer of the API told.
            timeout: seconds.

        Raises:
            TimeoutError: it did not come in time.
            ValueError: this cannot be a public key.
        """
        key = packed(public_key)
        if key is None:
            raise ValueError(f"{public_key!r:.40} is no public key")
        async with asyncio.timeout(timeout):
            await self._waiting.until(key, version)
        return self._replica.table.get(key)

    def on_change(self, callback: OnChange, *, everything: bool = False) -> None:
        """Have ``callback`` told of every key that changes, in a task of its own, one key at a time.

        It is told of a key as it is when its turn comes, never of an older version after a newer one; versions that
        follow each other quickly may be told as one, so that however slow it is, what waits is bounded by the number
        of keys. If it raises, it is told of the key again, after a pause and after the others. It should bound its
        own waits. What waits at the end of the block is not told any more.

        Args:
            callback: an async function.
            everything: whether it is told first of every key, the latest deleted ones too: who keeps a copy of
                the keys elsewhere needs that at each start, for changes may have been missed.
        """
        feed = Feed(callback, self._replica.change, everything=everything)
        self._feeds.append(feed)
        if self._tasks is not None:
            self._start(feed.run())
        if everything and self._replica.complete:
            feed.add(self._replica.table.known())

    def public_keys(self) -> list[str]:
        """All keys that are known, in no order."""
        return [key.hex() for key in self._replica.table.living()]

    def __len__(self) -> int:
        return len(self._replica.table)

    def lag(self) -> Lag:
        """How far behind Kafka this is."""
        return self._follower.lag()

    @property
    def counts(self) -> Counts:
        """How many records were read, and what became of them."""
        return dataclasses.replace(self._replica.counts)

    async def save(self) -> None:
        """Write the snapshot now, if there is a file for it and anything new to write.

        Raises:
            OSError: it cannot be written; the one that was there still is.
        """
        await self._follower.save()

    def _changed(self, keys: list[bytes], replaced: bool) -> None:  # noqa: FBT001 -- a callable has no keywords
        self._waiting.wake(None if replaced else keys)
        for feed in self._feeds:
            feed.add(keys)
            if replaced and feed.everything:
                feed.add(self._replica.table.known())
