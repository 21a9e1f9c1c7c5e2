"""What is answered where no handler is asked: to bytes that are not HTTP, and to requests beyond the room.

Rests on `_make_server`, `_handle_request`, `handle_error`, `_waiter` and `BaseRequest._message` of aiohttp's classes;
tests on raw sockets hold them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, cast

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web

from service.domain.errors import BusyError
from service.http.answers import error_response
from service.http.errors import HttpError, internal_error
from service.http.server.middleware import add_common_headers
from service.http.server.response import header_lines
from service.http.server.unsent_responses import Connection
from service.http.state import API, Api, new_request_id

_log = structlog.get_logger(__name__)

_UNREADABLE = 400

_HEAD_LIMIT: Final = 32 * 1024
"""Bytes of a request's head: the parser bounds each header alone, and a megabyte of all of them."""


class ApiRunner(web.AppRunner):
    """An application's runner whose connections answer in the API's form whatever arrives.

    Args:
        app: the API's application.
        connections: how many there may be at a time; more are closed at once.
        **options: as for every runner.
    """

    def __init__(self, app: web.Application, *, connections: int, **options: Any) -> None:
        super().__init__(app, **options)
        self._most = connections

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self.app[API], self._most)


class _Server(web.Server):
    """``made``, with connections of our own kind."""

    def __init__(self, made: web.Server, api: Api, most: int) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001 -- see above
        self._api = api
        self._most = most

    def __call__(self) -> web.RequestHandler:
        if len(self._connections) >= self._most:
            return _RejectedConnection()  # type: ignore[return-value]  # -- the loop wants any protocol
        return _ClientConnection(self, self._api, loop=asyncio.get_running_loop(), **self._kwargs)


class _RejectedConnection(asyncio.Protocol):
    """A connection beyond the limit: it ends before it has cost anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        transport.close()


class _ClientConnection(Connection):
    """One client's connection."""

    __slots__ = ("_api", "_head_size", "_is_new")

    def __init__(
        self, server: web.Server, api: Api, *, loop: asyncio.AbstractEventLoop, **options: object
    ) -> None:
        super().__init__(server, api.unsent, loop=loop, **options)
        self._api = api
        self._is_new = True
        self._head_size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless too many connections of the same address have sent no request yet."""
        peer = transport.get_extra_info("peername")
        if self._api.new_connections.add(self, peer[0] if peer else ""):
            super().connection_made(transport)
        else:
            cast("asyncio.Transport", transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._api.new_connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; the connection is aborted if it is more of a head than a head may have."""
        super().data_received(data)
        waiter = self._waiter
        if waiter is None or waiter.done():  # a request is being handled, or is about to be
            self._head_size = 0
            return
        self._head_size += len(data)
        if self._head_size > _HEAD_LIMIT:
            self._api.metrics.aborted.labels("head_limit").inc()
            self.abort()

    def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._is_new:
            self._is_new = False
            self._api.new_connections.remove(self)
        message = request._message  # noqa: SLF001 -- its public name is deprecated
        if message.upgrade:
            # The parser drops what follows in the same read. No protocol is offered here, so the request is handled
            # as if it asked for none, and is the last of its connection.
            request._message = message._replace(should_close=True)  # noqa: SLF001 -- see above
        if not _has_valid_framing(request):
            return super()._handle_request(request, start_time, self._refuse_framing)
        if request_handler is not self._request_handler:
            return super()._handle_request(request, start_time, request_handler)
        return self._handle_if_there_is_room(request, start_time, request_handler)

    async def _handle_if_there_is_room(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        admission = self._api.admission
        # Looked for in the step that takes it: between two steps all others could see the same free place.
        if admission.free > 0 or await admission.enter():
            return await super()._handle_request(request, start_time, request_handler)
        answered = await super()._handle_request(request, start_time, self._refuse)
        if request.content.is_eof():  # a connection whose body does not end is about to be closed
            await request.release()  # a crowd's bodies, kept while it waits, would fill the memory
            await admission.turn_away()
        return answered

    async def _refuse_framing(self, request: web.BaseRequest) -> web.StreamResponse:
        return self.handle_error(request, _UNREADABLE)

    async def _refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        """As cheap as can be: neither a route is looked for nor a line logged."""
        del request
        answer = error_response(BusyError("no room"))
        add_common_headers(self._api, answer, new_request_id(), None)
        self._api.metrics.observe("refused", "OTHER", answer.status, 0.0)
        return answer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say that the bytes are not HTTP, or that the service failed; never why: the text can hold a token.

        Raises:
            ConnectionError: a part of another answer has left already.
        """
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way")
        request_id = new_request_id()
        if status == _UNREADABLE:
            _log.info("request_unreadable", error=type(exc).__name__, request_id=request_id)
            refusal = HttpError(status, "The request is not valid HTTP.", ends_connection=True)
        else:
            _log.error("request_failed", request_id=request_id, exc_info=exc)
            refusal = internal_error(request_id)
        answer = error_response(refusal)
        answer.add(header_lines({"X-Request-Id": request_id}))
        answer.force_close()
        self._api.metrics.observe("unreadable", "OTHER", answer.status, 0.0)
        return answer


def _has_valid_framing(request: web.BaseRequest) -> bool:
    """Whether its end is where any other server would see it: in HTTP/1.1, or in HTTP/1.0 without chunks.

    The parser lets every version pass; RFC 9112, section 6.1, calls chunks before 1.1 faulty.
    """
    if request.version == HttpVersion11:
        return True
    return request.version == HttpVersion10 and "Transfer-Encoding" not in request.headers
