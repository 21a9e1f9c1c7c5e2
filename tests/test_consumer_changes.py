"""Who is told of keys that change: one at a time, never an old version after a new one."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from service.consumer import Change, ProjectKeys, feed
from service.consumer.feed import Feed
from service.domain.events import EventType
from service.domain.model import new_key_half
from testkit.polling import poll_until
from tests.telling import Teller, telling

_SOON = 5.0


@pytest.fixture
async def teller(kafka_bootstrap: str, topic: str) -> AsyncIterator[Teller]:
    """Something that writes into a topic of one test."""
    async with telling(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def keys(kafka_bootstrap: str, topic: str) -> ProjectKeys:
    """A reader of the same topic, not started."""
    return ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic)


class Notes:
    """A callback that notes what it is told, and raises as often as it is said."""

    def __init__(self, *, failures: int = 0) -> None:
        self.told: list[Change] = []
        self.failures = failures

    async def __call__(self, change: Change) -> None:
        """Note it."""
        self.told.append(change)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not now")

    async def reach(self, number: int) -> bool:
        """Whether it was told so often."""
        return len(self.told) >= number

    @property
    def last(self) -> dict[str, int]:
        """The version of each key that was told last, negative for one that is gone."""
        return {one.public_key: one.version if one.state else -one.version for one in self.told}


async def test_each_change_is_told(teller: Teller, keys: ProjectKeys) -> None:
    """A new key, an update, a deletion: with the state that is served at this moment."""
    notes, key = Notes(), new_key_half()
    keys.on_change(notes)
    async with keys:
        await keys.ready(_SOON)
        for version, kind in enumerate(EventType, 1):
            await teller.tell(key, version, kind)
            await poll_until(partial(notes.reach, version), timeout=_SOON)
    assert [(one.public_key, one.version, one.state is None) for one in notes.told] == [
        (key, 1, False),
        (key, 2, False),
        (key, 3, True),
    ]


async def test_what_was_there_is_told_to_who_asks_for_everything(teller: Teller, keys: ProjectKeys) -> None:
    """Before the start or after it; who wants changes alone hears of none."""
    living, deleted = new_key_half(), new_key_half()
    await teller.tell(living, 4)
    await teller.tell(deleted, 2, EventType.DELETED)
    early, late, changes = Notes(), Notes(), Notes()
    keys.on_change(early, everything=True)
    keys.on_change(changes)
    async with keys:
        await keys.ready(_SOON)
        keys.on_change(late, everything=True)
        await poll_until(lambda: early.reach(2), timeout=_SOON)
        await poll_until(lambda: late.reach(2), timeout=_SOON)
        assert early.last == late.last == {living: 4, deleted: -2}
        await teller.tell(living, 5)
        await poll_until(lambda: changes.reach(1), timeout=_SOON)
    assert changes.last == {living: 5}


async def test_a_callback_that_raises_is_told_again_and_stops_nobody(
    teller: Teller, keys: ProjectKeys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pause, with the key as it is then; other callbacks, and `get`, never notice."""
    monkeypatch.setattr(feed, "_FIRST_BACKOFF", 0.01)
    failing, other, key = Notes(failures=3), Notes(), new_key_half()
    keys.on_change(failing)
    keys.on_change(other)
    async with keys:
        await keys.ready(_SOON)
        await teller.tell(key, 1)
        await poll_until(lambda: failing.reach(4), timeout=_SOON)
        assert keys.get(key) is not None
    assert failing.last == {key: 1}
    assert [one.version for one in other.told] == [1]
    assert caplog.text.count(f"A callback failed for the key {key}") == 3


async def test_a_key_that_always_fails_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes behind the others each time."""
    monkeypatch.setattr(feed, "_FIRST_BACKOFF", 0.0)
    told: list[bytes] = []

    async def callback(change: Change) -> None:
        told.append(bytes.fromhex(change.public_key))
        if told[-1] == b"bad":
            raise RuntimeError

    running = Feed(callback, lambda key: Change(key.hex(), 1, None), everything=False)
    running.add([b"bad", b"one", b"two"])
    task = asyncio.create_task(running.run())
    await poll_until(lambda: b"two" in told, timeout=_SOON)
    assert told[:4] == [b"bad", b"one", b"two", b"bad"][: len(told)]
    task.cancel()


async def test_a_slow_callback_skips_versions_and_never_goes_back(teller: Teller, keys: ProjectKeys) -> None:
    """While it is at work a key waits once, however often it changes; then the newest version is told."""
    gate, notes, key = asyncio.Event(), Notes(), new_key_half()

    async def slow(change: Change) -> None:
        await notes(change)
        await gate.wait()

    keys.on_change(slow)
    async with keys:
        await keys.ready(_SOON)
        await teller.tell(key, 1)
        await poll_until(lambda: notes.reach(1), timeout=_SOON)
        for version in range(2, 9):
            await teller.tell(key, version)
        await keys.wait_for(key, 8, _SOON)
        gate.set()
        await poll_until(lambda: notes.reach(2), timeout=_SOON)
    assert [one.version for one in notes.told] == [1, 8]


async def test_the_end_of_the_block_ends_a_callback_that_hangs(teller: Teller, keys: ProjectKeys) -> None:
    """It is cancelled; the program goes on."""
    hanging = asyncio.Event()

    async def hang(_: Change) -> None:
        hanging.set()
        await asyncio.Event().wait()

    keys.on_change(hang)
    async with asyncio.timeout(_SOON):
        async with keys:
            await keys.ready(_SOON)
            await teller.tell(new_key_half(), 1)
            await hanging.wait()
