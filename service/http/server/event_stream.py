"""Server-sent events: a response that lasts until the client, the process or its permission ends it."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from service.http.server.response import Response, common_header_lines, header_lines
from service.http.server.state import state_of

# nginx would buffer the events.
_HEADERS: Final = common_header_lines("text/event-stream; charset=utf-8") + header_lines({"X-Accel-Buffering": "no"})
_RETRY: Final = b"retry: 2000\n\n"  # milliseconds after which a client connects again
_HEARTBEAT: Final = b": heartbeat\n\n"
_HEARTBEAT_INTERVAL: Final = 15.0  # seconds
_CHECK_INTERVAL: Final = 2.0  # seconds between two checks of the permission

ServerEvent = tuple[str, str, bytes]  # the id, or "" for none; the type; and the data, on one line


class EventStream(Response):
    """A response whose body ends with the connection.

    It begins after the handler, so that it has neither a slot nor the deadline of a request. SEND_TIMEOUT and
    UNSENT_LIMIT apply to it as to every response.

    Args:
        batches: The events; an empty batch at least once a second. Closed at the end.
        is_permitted: Returns whether the stream may continue.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        batches: AsyncGenerator[Sequence[ServerEvent], None],
        is_permitted: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(_HEADERS)
        self._batches, self._is_permitted = batches, is_permitted

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head, then the events."""
        self.keep_alive = False
        writer, state, transport = request.writer, state_of(request), request.transport
        sent_at = checked_at = time.monotonic()
        await writer.write(self._head(request, "") + (b"" if request.method == "HEAD" else _RETRY))
        if request.method == "HEAD" or transport is None:
            return writer
        async with aclosing(self._batches) as batches:
            async for events in batches:
                now = time.monotonic()
                if state.draining or transport.is_closing():
                    break
                if now - checked_at >= _CHECK_INTERVAL:
                    checked_at = now
                    if not await self._is_permitted():
                        break
                if events or now - sent_at >= _HEARTBEAT_INTERVAL:
                    await writer.write(b"".join(map(_encode, events)) or _HEARTBEAT)
                    await writer.drain()
                    sent_at = now
        return writer


def _encode(event: ServerEvent) -> bytes:
    event_id, event_type, data = event
    return (f"id: {event_id}\n" if event_id else "").encode() + b"event: %b\ndata: %b\n\n" % (
        event_type.encode(),
        data,
    )
