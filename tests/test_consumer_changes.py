"""Callbacks for changed keys: one call at a time, never an older version after a newer one."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from projectkeys_consumer import Change, ProjectKeys, backoff
from projectkeys_consumer.subscription import Subscription
from service.domain.events import EventType
from service.domain.model import new_key_half
from testkit.polling import poll_until
from tests.topic_writer import TopicWriter, topic_writer

_TIMEOUT = 5.0


@pytest.fixture
async def writer(kafka_bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """A writer to the topic of one test."""
    async with topic_writer(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def keys(kafka_bootstrap: str, topic: str) -> ProjectKeys:
    """A reader of the same topic that has not been started."""
    return ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic)


class RecordingCallback:
    """A callback that records its changes and raises in the first ``failures`` calls."""

    def __init__(self, *, failures: int = 0) -> None:
        self.changes: list[Change] = []
        self.failures = failures

    async def __call__(self, change: Change) -> None:
        """Record the change."""
        self.changes.append(change)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("failure of the test")

    async def has_calls(self, number: int) -> bool:
        """Whether it was called at least ``number`` times."""
        return len(self.changes) >= number

    @property
    def last(self) -> dict[str, int]:
        """The last version of each key, negative for a deleted one."""
        return {change.public_key: change.version if change.state else -change.version for change in self.changes}


async def test_the_callback_is_called_for_each_change(writer: TopicWriter, keys: ProjectKeys) -> None:
    """A new key, an update and a deletion, each with the current state."""
    callback, key = RecordingCallback(), new_key_half()
    keys.on_change(callback)
    async with keys:
        await keys.ready(_TIMEOUT)
        for version, event_type in enumerate(EventType, 1):
            await writer.write(key, version, event_type)
            await poll_until(partial(callback.has_calls, version), timeout=_TIMEOUT)
    assert [(change.public_key, change.version, change.state is None) for change in callback.changes] == [
        (key, 1, False),
        (key, 2, False),
        (key, 3, True),
    ]


async def test_include_existing_adds_a_call_for_each_known_key(writer: TopicWriter, keys: ProjectKeys) -> None:
    """Whether it is registered before or after the start; other callbacks are called for changes only."""
    existing, deleted = new_key_half(), new_key_half()
    await writer.write(existing, 4)
    await writer.write(deleted, 2, EventType.DELETED)
    early, late, changes = RecordingCallback(), RecordingCallback(), RecordingCallback()
    keys.on_change(early, include_existing=True)
    keys.on_change(changes)
    async with keys:
        await keys.ready(_TIMEOUT)
        keys.on_change(late, include_existing=True)
        await poll_until(lambda: early.has_calls(2), timeout=_TIMEOUT)
        await poll_until(lambda: late.has_calls(2), timeout=_TIMEOUT)
        assert early.last == late.last == {existing: 4, deleted: -2}
        await writer.write(existing, 5)
        await poll_until(lambda: changes.has_calls(1), timeout=_TIMEOUT)
    assert changes.last == {existing: 5}


async def test_a_callback_that_raises_is_retried_and_blocks_no_other(
    writer: TopicWriter, keys: ProjectKeys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause, with the state that is current then; other callbacks and `get` are not affected."""
    monkeypatch.setattr(backoff, "INITIAL_DELAY", 0.01)
    failing, other, key = RecordingCallback(failures=3), RecordingCallback(), new_key_half()
    keys.on_change(failing)
    keys.on_change(other)
    async with keys:
        await keys.ready(_TIMEOUT)
        await writer.write(key, 1)
        await poll_until(lambda: failing.has_calls(4), timeout=_TIMEOUT)
        assert keys.get(key) is not None
    assert failing.last == {key: 1}
    assert [change.version for change in other.changes] == [1]
    assert caplog.text.count(f"The callback failed for the key {key}") == 3


async def test_a_key_whose_callback_always_fails_blocks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is queued again after the other keys."""
    monkeypatch.setattr(backoff, "INITIAL_DELAY", 0.0)
    called: list[bytes] = []

    async def callback(change: Change) -> None:
        called.append(bytes.fromhex(change.public_key))
        if called[-1] == b"bad":
            raise RuntimeError

    subscription = Subscription(callback, lambda key: Change(key.hex(), 1, None), include_existing=False)
    subscription.add([b"bad", b"one", b"two"])
    task = asyncio.create_task(subscription.run())
    await poll_until(lambda: b"two" in called, timeout=_TIMEOUT)
    assert called[:4] == [b"bad", b"one", b"two", b"bad"][: len(called)]
    task.cancel()


async def test_a_slow_callback_skips_versions(writer: TopicWriter, keys: ProjectKeys) -> None:
    """During a call a key is queued once, however often it changes; the next call gets the newest version."""
    finish, callback, key = asyncio.Event(), RecordingCallback(), new_key_half()

    async def slow(change: Change) -> None:
        await callback(change)
        await finish.wait()

    keys.on_change(slow)
    async with keys:
        await keys.ready(_TIMEOUT)
        await writer.write(key, 1)
        await poll_until(lambda: callback.has_calls(1), timeout=_TIMEOUT)
        for version in range(2, 9):
            await writer.write(key, version)
        await keys.wait_for(key, 8, _TIMEOUT)
        finish.set()
        await poll_until(lambda: callback.has_calls(2), timeout=_TIMEOUT)
    assert [change.version for change in callback.changes] == [1, 8]


async def test_the_end_of_the_block_cancels_a_callback_that_hangs(writer: TopicWriter, keys: ProjectKeys) -> None:
    """The program continues after the block."""
    hanging = asyncio.Event()

    async def hang(_: Change) -> None:
        hanging.set()
        await asyncio.Event().wait()

    keys.on_change(hang)
    async with asyncio.timeout(_TIMEOUT):
        async with keys:
            await keys.ready(_TIMEOUT)
            await writer.write(new_key_half(), 1)
            await hanging.wait()
