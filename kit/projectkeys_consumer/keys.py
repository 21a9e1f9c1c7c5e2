"""`ProjectKeys`, the entry point of the kit, and the waiters for versions of keys."""

import asyncio
import dataclasses
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from aiokafka.errors import KafkaError

from projectkeys_consumer.client_options import Security, client_options
from projectkeys_consumer.errors import NotReadyError
from projectkeys_consumer.read_progress import Lag
from projectkeys_consumer.state import Change, KeyState, pack_key
from projectkeys_consumer.subscription import Subscription
from projectkeys_consumer.synchronizer import DEFAULT_MAX_AGE, Synchronizer
from projectkeys_consumer.view import Counts

_log = logging.getLogger(__name__)

OnChange = Callable[[Change], Awaitable[None]]


class ProjectKeys:
    """An in-memory copy of every client key of the topic; an async context manager for one event loop.

    It reads every partition to its end and then follows. It joins no consumer group and commits no offsets. While
    Kafka is unavailable, also at the start, lookups use the known state; reading continues when Kafka is available.

    Args:
        bootstrap_servers: `host:port` of some brokers, separated by commas or as a sequence.
        topic: the topic of the events.
        client_id: the name of this process in the brokers' logs and quotas.
        snapshot: a file that stores the copy between runs, so that a start reads only newer records. It is written
            every ``snapshot_interval`` seconds and at the end of the block. A file that is damaged, too old, or of
            another topic or cluster is not used: a warning is logged and the whole topic is read. None: no file.
        snapshot_interval: seconds.
        snapshot_max_age: seconds since the last complete read after which the whole topic is read. It must be less
            than the topic's ``delete.retention.ms``, after which Kafka removes the tombstones of deleted keys. The
            default is half of Kafka's default; None is half of the topic's value, which needs DescribeConfigs.
        serve_outdated_snapshot: whether a snapshot older than ``snapshot_max_age`` serves lookups while Kafka is
            unavailable at the start.
        read_security: returns further options like ``security``; called for each attempt to connect, so that
            passwords and certificates can change. It may raise OSError.
        **security: TLS and SASL options, see `Security`.

    Raises:
        TypeError: an argument is unknown.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str | Sequence[str],
        topic: str = "project-keys",
        client_id: str = "projectkeys-consumer",
        snapshot: str | Path | None = None,
        snapshot_interval: float = 300.0,
        snapshot_max_age: float | None = DEFAULT_MAX_AGE,
        serve_outdated_snapshot: bool = False,
        read_security: Callable[[], Mapping[str, Any]] = dict,
        **security: Unpack[Security],
    ) -> None:
        self._topic = topic
        self._snapshot_interval = snapshot_interval
        options = client_options(bootstrap_servers, client_id=client_id, security=security)
        self._synchronizer = Synchronizer(
            lambda: {**options, **read_security()},
            topic,
            file=None if snapshot is None else Path(snapshot),
            max_age=snapshot_max_age,
            serves_outdated=serve_outdated_snapshot,
            on_change=self._publish_changes,
        )
        self._view = self._synchronizer.view
        self._waiters = _VersionWaiters(self._view.version)
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] | None = None

    async def __aenter__(self) -> Self:
        """Start to read; `ready` waits for the end of the topic."""
        self._tasks = []
        self._start(self._synchronizer.run())
        self._start(self._synchronizer.save_periodically(self._snapshot_interval))
        for subscription in self._subscriptions:
            self._start(subscription.run())
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading, and write the snapshot."""
        tasks, self._tasks = self._tasks or [], None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._synchronizer.close()
        try:
            await self.save()
        except OSError as problem:
            _log.warning("The snapshot cannot be written: %s", problem)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "tasks run only inside the block"
        self._tasks.append(asyncio.create_task(work))

    async def ready(self, timeout: float = 60.0) -> None:  # noqa: ASYNC109 -- part of the public API
        """Wait until every record that was in the topic at the start has been read.

        Args:
            timeout: seconds.

        Raises:
            NotReadyError: the timeout expired; the message gives the reason.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._synchronizer.ready.wait()
        except TimeoutError:
            problem = self.problem or f"{self.lag().records} records of {self._topic} have not been read yet"
            raise NotReadyError(f"not ready after {timeout:g} s: {problem}") from None

    @property
    def is_ready(self) -> bool:
        """Whether every record that was in the topic at the start has been read."""
        return self._synchronizer.ready.is_set()

    @property
    def is_complete(self) -> bool:
        """Whether lookups are possible: the topic has been read once, or a snapshot is used."""
        return self._view.complete

    @property
    def problem(self) -> str | None:
        """Why the topic cannot be read at present; None if it can."""
        return self._synchronizer.problem

    def get(self, public_key: str) -> KeyState | None:
        """Return the newest known state of a key; None if the key does not exist.

        A loaded snapshot is used even while Kafka is unavailable; `lag` returns its age.

        Raises:
            NotReadyError: the keys are not complete yet, so that a missing key would prove nothing.
        """
        if not self._view.complete:
            raise NotReadyError(self.problem or "the topic is being read")
        key = pack_key(public_key)
        return None if key is None else self._view.table.get(key)

    def value(self, public_key: str) -> bytes | None:
        """Return the value of a key's newest record, undecoded JSON; None if the key does not exist.

        Raises:
            NotReadyError: as `get`.
        """
        if not self._view.complete:
            raise NotReadyError(self.problem or "the topic is being read")
        key = pack_key(public_key)
        return None if key is None else self._view.table.value(key)

    def version(self, public_key: str) -> int:
        """Return the newest known version of a key, also of a deleted one; 0 if none is known."""
        key = pack_key(public_key)
        return 0 if key is None else self._view.version(key)

    async def catch_up(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 -- part of the public API
        """Wait until everything that was in the topic at the time of this call has been applied.

        Calls at the same time share one request to Kafka.

        Args:
            timeout: seconds.

        Raises:
            NotReadyError: Kafka did not respond, or the records were not read in time.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._synchronizer.catch_up()
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise NotReadyError(self.problem or str(error) or "Kafka did not respond in time") from None

    async def wait_for(self, public_key: str, version: int, timeout: float = 10.0) -> KeyState | None:  # noqa: ASYNC109 -- part of the public API
        """Wait for a version of a key or a newer one, and return the key's state; None if it has been deleted.

        Args:
            public_key: 32 lower-case hex digits.
            version: 1 for a new key; each change and the deletion increase it by 1.
            timeout: seconds.

        Raises:
            TimeoutError: the version did not arrive in time.
            ValueError: ``public_key`` is not a public key.
        """
        key = pack_key(public_key)
        if key is None:
            raise ValueError(f"{public_key!r:.40} is not a public key; it must be 32 lower-case hex digits")
        async with asyncio.timeout(timeout):
            await self._waiters.wait(key, version)
        return self._view.table.get(key)

    def on_change(self, callback: OnChange, *, include_existing: bool = False) -> None:
        """Call ``callback`` for every key that changes, in a separate task, one key at a time.

        The callback gets the current state of the key, and never an older version after a newer one. Changes in quick
        succession may result in one call, so the queue is limited by the number of keys. If the callback raises, the
        key is retried after a pause and after the other keys. The callback should limit its own waits. Keys that are
        still queued at the end of the block are dropped.

        Args:
            callback: an async function.
            include_existing: whether to call it for the existing keys and the latest deleted ones, too, and again
                after the whole topic had to be read. A program that copies the keys elsewhere needs this at each
                start, because it may have missed changes. Without it, keys that exist at the start cause no call.
        """
        subscription = Subscription(callback, self._view.change, include_existing=include_existing)
        self._subscriptions.append(subscription)
        if self._tasks is not None:
            self._start(subscription.run())
        if include_existing and self._view.complete:
            subscription.add(self._view.table.known_keys())

    def public_keys(self) -> list[str]:
        """Return all existing keys, in no particular order."""
        return [key.hex() for key in self._view.table.existing_keys()]

    def __len__(self) -> int:
        return len(self._view.table)

    def lag(self) -> Lag:
        """Return how far the copy is behind the topic."""
        return self._synchronizer.lag()

    @property
    def counts(self) -> Counts:
        """Number of records read, by result."""
        return dataclasses.replace(self._view.counts)

    async def save(self) -> None:
        """Write the snapshot now, if a file is configured and records have been read since the last one.

        Raises:
            OSError: the file cannot be written; the previous one is unchanged.
        """
        await self._synchronizer.save()

    def _publish_changes(self, keys: list[bytes], replaced: bool) -> None:  # noqa: FBT001 -- a callable has no keywords
        self._waiters.wake(None if replaced else keys)
        for subscription in self._subscriptions:
            subscription.add(keys)
            if replaced and subscription.include_existing:
                subscription.add(self._view.table.known_keys())


class _VersionWaiters:
    """Callers that wait for a version of a key.

    Args:
        version: returns the known version of a key, 0 if none is known.
    """

    def __init__(self, version: Callable[[bytes], int]) -> None:
        self._version = version
        self._futures: dict[bytes, set[asyncio.Future[None]]] = defaultdict(set)

    async def wait(self, key: bytes, version: int) -> None:
        """Return when ``version`` of ``key``, or a newer one, is known."""
        while self._version(key) < version:
            future = asyncio.get_running_loop().create_future()
            self._futures[key].add(future)
            try:
                await future
            finally:
                self._remove(key, future)

    def _remove(self, key: bytes, future: asyncio.Future[None]) -> None:
        self._futures[key].discard(future)
        if not self._futures[key]:
            del self._futures[key]

    def wake(self, keys: Iterable[bytes] | None) -> None:
        """Wake the waiters of these keys; None: of all keys."""
        if not self._futures:
            return
        for key in list(self._futures) if keys is None else keys:
            for future in self._futures.get(key, ()):
                if not future.done():
                    future.set_result(None)
