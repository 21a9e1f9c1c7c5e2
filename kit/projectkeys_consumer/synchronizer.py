"""Keeps a view of the topic current: reads everything, then follows, and reconnects after failures."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from projectkeys_consumer.backoff import Backoff
from projectkeys_consumer.catch_up import CatchUp
from projectkeys_consumer.errors import ResyncRequiredError, SnapshotError
from projectkeys_consumer.read_progress import Lag, ReadProgress
from projectkeys_consumer.snapshot import Snapshot, read_snapshot, write_snapshot
from projectkeys_consumer.table import KeyTable
from projectkeys_consumer.topic_reader import (
    EndOffsets,
    TopicReader,
    open_topic_reader,
    request_delete_retention,
)
from projectkeys_consumer.view import KeyView

_log = logging.getLogger(__name__)

DEFAULT_MAX_AGE: Final = 12 * 3600.0
"""Seconds: half of Kafka's default of ``delete.retention.ms``."""


class Synchronizer:
    """Fills a view from the topic and keeps it current.

    Args:
        read_options: returns the keyword arguments for aiokafka's clients; called for each attempt to connect.
        topic: the topic's name.
        file: the snapshot file; None: no snapshot.
        max_age: seconds after which known positions are not used any more, because tombstones may have been removed;
            None: half of the topic's ``delete.retention.ms``, or of Kafka's default if it must not be read.
        serves_outdated: whether a snapshot that is older than ``max_age`` is served while Kafka is unavailable.
        on_change: called with the keys that changed and with whether the whole table was replaced, in which case any
            key may have changed.
    """

    def __init__(
        self,
        read_options: Callable[[], Mapping[str, Any]],
        topic: str,
        *,
        file: Path | None,
        max_age: float | None,
        serves_outdated: bool = False,
        on_change: Callable[[list[bytes], bool], None],
    ) -> None:
        self._read_options = read_options
        self._topic = topic
        self._file = file
        self._max_age = DEFAULT_MAX_AGE if max_age is None else max_age
        self._derives_max_age = max_age is None
        self._serves_outdated = serves_outdated
        self._on_change = on_change
        self._cluster: str | None = None
        self._loaded: Snapshot | None = None
        self._progress = ReadProgress()
        self._complete_as_of: float | None = None
        self._saved_positions: dict[int, int] = {}
        self._end_offsets = EndOffsets(read_options, topic)
        self._catch_up = CatchUp(self._request_ends, self._is_applied)
        self.view = KeyView()
        self.ready = asyncio.Event()
        self.problem: str | None = None

    async def run(self) -> None:
        """Read until cancelled; failures are logged and retried."""
        self._loaded = await self._load_snapshot()
        backoff = Backoff()
        while True:
            try:
                async with open_topic_reader(self._read_options(), self._topic) as reader:
                    await self._begin(reader)
                    while True:
                        await self._step(reader)
                        backoff.reset()
            except ResyncRequiredError as error:
                self._start_resync(str(error))
            except Exception as error:  # noqa: BLE001 -- reading continues after any failure
                self._handle_failure(error)
            await backoff.wait()

    async def _load_snapshot(self) -> Snapshot | None:
        if self._file is None:
            return None
        try:
            loaded = await asyncio.to_thread(read_snapshot, self._file)
        except SnapshotError as error:
            _log.warning("The snapshot %s is not used: %s", self._file, error)
            return None
        if loaded is not None and loaded.topic != self._topic:
            _log.warning("The snapshot %s is not used: it is of the topic %s", self._file, loaded.topic)
            return None
        return loaded

    def _is_outdated(self, loaded: Snapshot) -> bool:
        return time.time() - loaded.as_of > self._max_age

    def _restore(self, loaded: Snapshot) -> None:
        self.view.restore(KeyTable(loaded.states, loaded.deleted))
        self._cluster = loaded.cluster
        self._progress.positions = loaded.positions
        self._progress.complete_as_of = self._complete_as_of = loaded.as_of
        self._loaded = None
        self._on_change([], True)  # noqa: FBT003 -- a callable has no keywords

    async def _begin(self, reader: TopicReader) -> None:
        """Check that the known positions are valid for this cluster and topic, and start reading there."""
        if self._derives_max_age:
            retention = await request_delete_retention(self._read_options(), self._topic)
            self._max_age = DEFAULT_MAX_AGE if retention is None else retention / 2
        if self._loaded is not None and self._is_outdated(self._loaded):
            _log.warning("The snapshot %s is not used: it is older than snapshot_max_age", self._file)
            self._loaded = None
        if self._loaded is not None and self._loaded.cluster == reader.cluster:
            self._restore(self._loaded)
        elif self._loaded is not None:
            _log.warning("The snapshot %s is not used: it is of another cluster", self._file)
            self._loaded = None
        previous, self._cluster = self._cluster, reader.cluster
        if previous not in {None, reader.cluster}:
            raise ResyncRequiredError("the cluster id has changed")
        if self._progress.positions and self._progress.positions.keys() != reader.partitions:
            raise ResyncRequiredError("the topic's partitions have changed")
        self._check_age()
        now = time.time()
        positions = self._progress.positions or await reader.beginnings()
        ends = await reader.ends()
        if any(positions[partition] > end for partition, end in ends.items()):
            raise ResyncRequiredError("the topic ends before the known position")
        reader.seek(positions)
        self._progress.begin(positions, ends, now=now)

    async def _step(self, reader: TopicReader) -> None:
        records = await reader.read()
        positions = await reader.positions()
        self._check_age()  # before these records count as complete
        # No await from here to `_on_change`: the view and the positions stay consistent for other tasks.
        for record in records:
            self._progress.add_record(record.partition, record.timestamp / 1000)
        if records and not self.view.rebuilding:
            self._progress.delivery_seconds = time.time() - records[-1].timestamp / 1000
        changed = self.view.apply(records)
        replaced = False
        if self._progress.advance(positions, reader.known_ends(), responded_at=reader.responded_at):
            if self.view.rebuilding:
                changed, replaced = self.view.finish_rebuild(), True
            self._complete_as_of = self._progress.complete_as_of
            self.problem = None
            self.ready.set()
        if changed or replaced:
            self._on_change(changed, replaced)
        self._catch_up.wake()
        await asyncio.sleep(0)  # `read` does not suspend while fetched records are available

    def _check_age(self) -> None:
        since = self._progress.complete_as_of
        if since is not None and time.time() - since > self._max_age:
            raise ResyncRequiredError(
                "the last complete read is older than snapshot_max_age; tombstones may have been removed"
            )

    def _start_resync(self, reason: str) -> None:
        _log.warning("Reading %s from its beginning: %s", self._topic, reason)
        self.problem = reason
        self._progress = ReadProgress()
        self.view.start_rebuild()

    def _handle_failure(self, error: Exception) -> None:
        self.problem = str(error) or type(error).__name__
        _log.warning("Cannot read the topic %s; it is retried: %s", self._topic, self.problem)
        if self._loaded is None:
            return
        if self._serves_outdated or not self._is_outdated(self._loaded):
            _log.warning("Serving the snapshot %s until Kafka is available", self._file)
            self._restore(self._loaded)

    async def catch_up(self) -> None:
        """Wait until everything that was in the topic at the time of this call has been applied to the view.

        Raises:
            KafkaError: Kafka cannot be reached.
            TimeoutError: Kafka did not respond.
        """
        await self._catch_up.wait()

    async def _request_ends(self) -> dict[int, int]:
        return await self._end_offsets.request(self._progress.positions)

    def _is_applied(self, ends: Mapping[int, int]) -> bool:
        positions = self._progress.positions
        if self.view.rebuilding or not ends:
            return False
        return all(positions.get(partition, 0) >= end for partition, end in ends.items())

    async def close(self) -> None:
        """Close the connections that do not belong to `run`."""
        await self._end_offsets.close()

    def lag(self) -> Lag:
        """Return how far the view is behind the topic."""
        now = time.time()
        seconds = None if self._complete_as_of is None else max(0.0, now - self._complete_as_of)
        progress = self._progress
        return Lag(progress.unread_records, seconds, progress.idle_seconds(now), progress.delivery_seconds)

    async def save(self) -> None:
        """Write the snapshot if the view is complete and records have been read since the last one.

        Raises:
            OSError: the file cannot be written.
        """
        positions = self._progress.positions
        if self._file is None or self._complete_as_of is None or self._cluster is None or self.view.rebuilding:
            return
        if positions == self._saved_positions:
            return
        states, deleted = self.view.table.copy_content()
        snapshot = Snapshot(self._topic, self._cluster, dict(positions), self._complete_as_of, states, deleted)
        await asyncio.to_thread(write_snapshot, self._file, snapshot)
        self._saved_positions = snapshot.positions

    async def save_periodically(self, interval: float) -> None:
        """Write the snapshot every ``interval`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.save()
            except OSError as error:
                _log.warning("The snapshot %s cannot be written: %s", self._file, error)
