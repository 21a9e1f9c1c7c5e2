"""Keeps a replica of the topic: reads everything, then follows, whatever happens to Kafka."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from service.consumer import snapshot
from service.consumer.errors import ReadAnewError, SnapshotError
from service.consumer.log import Log, open_log
from service.consumer.progress import Lag, Progress
from service.consumer.replica import Replica
from service.consumer.snapshot import Snapshot
from service.consumer.table import Table

_log = logging.getLogger(__name__)

_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0
"""Seconds to wait after the first failure and at most; Kafka's return is noticed within these."""

_DOUBLINGS: Final = 6
"""Until the longest is reached."""


class Follower:
    """Fills a replica and keeps it.

    Args:
        options: how Kafka is reached: the keyword arguments of aiokafka's clients.
        topic: the topic.
        file: where what is held is kept between runs; None: nowhere.
        most_age: seconds after which what is held is not read on from, for tombstones may be gone.
        changed: is told of the keys that are other than before, and whether the table is another one, so that
            any key may be.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        topic: str,
        *,
        file: Path | None,
        most_age: float,
        changed: Callable[[list[bytes], bool], None],
    ) -> None:
        self._options = options
        self._topic = topic
        self._file = file
        self._most_age = most_age
        self._changed = changed
        self._cluster: str | None = None
        self._restored: Snapshot | None = None
        self._progress = Progress()
        self._as_of: float | None = None
        self._saved: dict[int, int] = {}
        self._failures = 0
        self.replica = Replica()
        self.ready = asyncio.Event()
        self.problem: str | None = None

    async def run(self) -> None:
        """Read until cancelled; no failure ends it."""
        self._restored = await self._restore()
        while True:
            try:
                async with open_log(self._options, self._topic) as log:
                    await self._begin(log)
                    while True:
                        await self._step(log)
                        self._failures = 0
            except ReadAnewError as error:
                self._read_anew(str(error))
            except Exception as error:  # noqa: BLE001 -- whatever it is, reading must go on
                self._failed(error)
            longest = min(_FIRST_BACKOFF * 2**self._failures, _LONGEST_BACKOFF)
            await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 -- spreads retries, hides nothing
            self._failures = min(self._failures + 1, _DOUBLINGS)

    async def _restore(self) -> Snapshot | None:
        if self._file is None:
            return None
        try:
            found = await asyncio.to_thread(snapshot.read, self._file)
        except SnapshotError as error:
            _log.warning("%s is not used: %s", self._file, error)
            return None
        if found is not None and found.topic != self._topic:
            _log.warning("%s is not used: it is of the topic %s", self._file, found.topic)
            return None
        if found is not None and time.time() - found.as_of > self._most_age:
            _log.warning("%s is not used: it is too old to tell of every deletion", self._file)
            return None
        return found

    def _adopt(self, restored: Snapshot) -> None:
        self.replica.adopt(Table(restored.states, restored.deleted))
        self._cluster = restored.cluster
        self._progress.positions = restored.positions
        self._progress.since = self._as_of = restored.as_of
        self._restored = None
        self._changed([], True)  # noqa: FBT003 -- a callable has no keywords

    async def _begin(self, log: Log) -> None:
        if self._restored is not None and self._restored.cluster == log.cluster:
            self._adopt(self._restored)
        elif self._restored is not None:
            _log.warning("%s is not used: it is of another cluster than %s", self._file, log.cluster)
            self._restored = None
        before, self._cluster = self._cluster, log.cluster
        if before not in {None, log.cluster}:
            raise ReadAnewError("it is another cluster than before")
        if self._progress.positions and self._progress.positions.keys() != log.partitions:
            raise ReadAnewError("the topic has other partitions than before")
        self._refuse_if_old()
        now = time.time()
        positions = self._progress.positions or await log.beginnings()
        ends = await log.ends()
        if any(positions[partition] > end for partition, end in ends.items()):
            raise ReadAnewError("the topic ends before what was read of it")
        log.seek(positions)
        self._progress.begin(positions, ends, at=now)

    async def _step(self, log: Log) -> None:
        records = await log.read()
        positions = await log.positions()
        self._refuse_if_old()  # before these records count as all there was
        # From here on nothing is awaited: what is held and the positions never differ to anybody else.
        for record in records:
            self._progress.saw(record.partition, record.timestamp / 1000)
        changed = self.replica.take(records)
        replaced = False
        if self._progress.advance(positions, log.known_ends(), answered_at=log.answered_at):
            if self.replica.building:
                changed, replaced = self.replica.built(), True
            self._as_of = self._progress.since
            self.problem = None
            self.ready.set()
        if changed or replaced:
            self._changed(changed, replaced)
        await asyncio.sleep(0)  # records that have been fetched already come without a pause

    def _refuse_if_old(self) -> None:
        since = self._progress.since
        if since is not None and time.time() - since > self._most_age:
            raise ReadAnewError("it is so long since that the tombstones of deleted keys may be gone")

    def _read_anew(self, reason: str) -> None:
        _log.warning("Reading the whole of %s: %s", self._topic, reason)
        self.problem = reason
        self._progress = Progress()
        self.replica.begin_anew()

    def _failed(self, error: Exception) -> None:
        self.problem = str(error) or type(error).__name__
        _log.warning("%s cannot be read: %s", self._topic, self.problem)
        if self._restored is not None:
            _log.warning("Going on with what %s holds until Kafka is back", self._file)
            self._adopt(self._restored)

    def lag(self) -> Lag:
        """How far behind it is."""
        now = time.time()
        seconds = None if self._as_of is None else max(0.0, now - self._as_of)
        return Lag(self._progress.behind, seconds, self._progress.quiet(now))

    async def save(self) -> None:
        """Write what is held to the file, if it is whole and anything has come since the last time.

        Raises:
            OSError: it cannot be written.
        """
        positions = self._progress.positions
        if self._file is None or self._as_of is None or self._cluster is None or self.replica.building:
            return
        if positions == self._saved:
            return
        states, deleted = self.replica.table.copied()
        held = Snapshot(self._topic, self._cluster, dict(positions), self._as_of, states, deleted)
        await asyncio.to_thread(snapshot.write, self._file, held)
        self._saved = held.positions

    async def keep_saving(self, every: float) -> None:
        """Save so often, in seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.save()
            except OSError as error:
                _log.warning("%s cannot be written: %s", self._file, error)
