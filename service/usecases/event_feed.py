"""The newest events of the topic, for the streams of HTTP clients."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from itertools import islice
from typing import Final, Literal, TypeAlias

import orjson
import structlog

from service.concurrency.backoff import Backoff
from service.domain.errors import CommandError
from service.domain.events import EventType, TopicMessage

_log = structlog.get_logger(__name__)

MAX_STREAMS: Final = 100  # of one replica
KEPT_EVENTS: Final = 1000  # for streams whose clients read slowly or connect again
_MAX_BATCH: Final = 20  # about 20 KiB, which stay in memory while the client does not read
_MAX_VALUE: Final = 16 * 1024  # bytes; the values of this service are below 2 KiB
_MAX_DIGITS: Final = 18  # of the number in an id
_PAUSE: Final = 1.0  # seconds after which a stream without events checks whether it must end
_RETRY: Final = Backoff(first=0.5, longest=5.0)
_TYPES: Final = frozenset(EventType)

Batches: TypeAlias = AsyncIterator[Sequence[TopicMessage]]
StreamEvent: TypeAlias = tuple[str, str, bytes]  # the id, or "" for none; the type; and the data


class EventFeed:
    """Reads the topic while there are streams, and keeps the newest events with consecutive numbers.

    Args:
        follow: Reads the topic from offsets on, or from its end and changes them to it; raises CommandError.
    """

    def __init__(self, follow: Callable[[dict[int, int]], AbstractAsyncContextManager[Batches]]) -> None:
        self._follow = follow
        self._prefix = secrets.token_hex(4)  # clients can continue at this replica only
        self._kept: deque[tuple[int, int, StreamEvent]] = deque(maxlen=KEPT_EVENTS)
        self._newest = 0
        self._state: Literal["stopped", "live", "problem"] = "stopped"
        self._wanted, self._changed = asyncio.Event(), asyncio.Event()
        self.streams = 0

    @property
    def is_full(self) -> bool:
        """Whether there are `MAX_STREAMS`."""
        return self.streams >= MAX_STREAMS

    async def stream(
        self, organization_id: int, project_id: int | None, last_id: str
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """Yield events of the keys of an organization or of one project; an empty list after a second without any.

        ``reset`` comes first unless all events after ``last_id`` are kept, and whenever some were missed. ``problem``
        says that Kafka is unavailable; a reset follows.
        """
        prefix, _, text = last_id.rpartition("-")
        is_own = prefix == self._prefix and text.isdecimal() and len(text) <= _MAX_DIGITS
        position, is_reported = int(text) if is_own else -1, False
        if self.is_full:  # others have begun since the handler
            return
        self.streams += 1
        self._wanted.set()
        try:
            while True:
                changed, batch, oldest = self._changed, list[StreamEvent](), self._newest - len(self._kept)
                if self._state == "problem" and not is_reported:
                    position, is_reported, batch = -1, True, [("", "problem", b"Kafka is unavailable")]
                elif self._state == "live" and not oldest <= position <= self._newest:
                    position, is_reported = self._newest, False
                    batch = [(f"{self._prefix}-{position}", "reset", b"{}")]
                elif self._state == "live":
                    for organization, project, event in islice(self._kept, position - oldest, None):
                        position += 1
                        if organization == organization_id and project_id in {None, project}:
                            batch.append(event)
                        if len(batch) == _MAX_BATCH:
                            break
                yield batch
                if not batch:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_PAUSE):
                            await changed.wait()
        finally:
            self.streams -= 1

    async def run(self) -> None:
        """Read the topic while there are streams, until cancelled."""
        failures, offsets = 0, dict[int, int]()
        while True:
            await self._wanted.wait()
            before = dict(offsets)
            try:
                async with self._follow(offsets) as batches:
                    if offsets != before:  # events were missed
                        self._kept.clear()
                        self._newest += 1
                    failures = 0
                    self._enter("live")
                    try:
                        await self._read(batches, offsets)
                    finally:  # before the reader is closed, which can take seconds
                        self._enter("problem" if self.streams else "stopped")
            except CommandError as error:
                if failures == 0:
                    _log.warning("event_feed_interrupted", error=str(error))
                failures += 1
                offsets.clear()
                self._enter("problem")
                await asyncio.sleep(_RETRY.delay(failures))
            if self.streams == 0:
                self._wanted.clear()
                self._enter("stopped")

    async def _read(self, batches: Batches, offsets: dict[int, int]) -> None:
        async for batch in batches:
            for message in batch:
                offsets[message.partition] = message.offset + 1
                self._keep(message)
            if batch:
                self._enter("live")
            if self.streams == 0:
                return

    def _enter(self, state: Literal["stopped", "live", "problem"]) -> None:
        """Set the state, and let the streams continue."""
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def _keep(self, message: TopicMessage) -> None:
        """Keep an event; leave out tombstones, control records and what no release of this service writes."""
        event_type, value = message.headers.get("ce_type", ""), message.value
        if event_type in _TYPES and value is not None and len(value) <= _MAX_VALUE:
            with suppress(ValueError, TypeError, KeyError):
                state = orjson.loads(value)
                owner = int(state["organizationId"]), int(state["projectId"])
                self._newest += 1
                data = orjson.dumps(state)  # on one line
                self._kept.append((*owner, (f"{self._prefix}-{self._newest}", event_type, data)))
