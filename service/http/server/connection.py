"""The connections of the server: the steps before the route of a request is looked up and after its response.

This is the only module that uses private names of aiohttp; `pyproject.toml` pins the version, and
`tests/test_aiohttp_internals.py` checks each name:

- `AppRunner._make_server`, `Server._kwargs`: create our connections with the options of the runner;
- `Server._connections`: counts the connections;
- `RequestHandler._handle_request`: admits a request before its route is looked up;
- `RequestHandler._waiter`: distinguishes an incomplete request head from a request in progress;
- `RequestHandler._messages` and `_ErrInfo`: report a request head that exceeds the limit;
- `RequestHandler._pause_transport_reading`, `_resume_transport_reading`, `_reading_paused`, `_buffer_paused`: read no
  further requests while a response is unsent, and resume only what was paused;
- `BaseRequest._message`: ends the connection after a request for an upgrade.

Memory of a connection, measured with CPython 3.11: 9 KiB with one request in progress; 90 KiB with an incomplete
head of 28 KiB, of which the limit is 32 KiB by default; 60 KiB with pipelined requests; 520 KiB with pipelined
requests of 100 short headers each, the worst case: one read returns about 32 KiB, and aiohttp parses at most 32
requests in advance. The connections of the process need at most MAX_CONNECTIONS times as much: 16 000 connections
need 150 MB in normal use and up to 8 GB under attack, so MAX_CONNECTIONS must fit the memory limit (2 000 per GiB)
unless a proxy parses the requests first.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from service.domain.errors import BusyError
from service.http.errors import internal_error
from service.http.server import invalid_requests
from service.http.server.middleware import ROUTES, new_request_id
from service.http.server.response import Response, error_response, header_lines
from service.http.server.state import Request, ServerState
from service.http.server.unsent_responses import UnsentConnection

_log = structlog.get_logger(__name__)

_BAD_REQUEST: Final = 400

_LINGER_TIMEOUT: Final = 1.0
"""Seconds in which the rest of a rejected request is received."""

_UNSENT_IN_KERNEL: Final = 64 * 1024
"""Bytes that the kernel buffers unsent for each connection; by default it buffers megabytes."""

_UNREAD_IN_KERNEL: Final = 32 * 1024
"""Bytes that the kernel buffers for each connection and that one read returns; it reserves twice as much memory."""

_RESET: Final = struct.pack("ii", 1, 0)
"""The option SO_LINGER that discards unsent data on close; otherwise the kernel keeps it for minutes."""

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ServerRunner(web.AppRunner):
    """The runner of an application whose connections obey the limits of a `ServerState`.

    An application with `ROUTES` is served without aiohttp's router.

    Args:
        app: The application.
        state: The limits.
        max_connections: The number of open connections beyond which new ones are closed immediately.
        **options: Those of `aiohttp.web.AppRunner`.
    """

    def __init__(self, app: web.Application, state: ServerState, *, max_connections: int, **options: Any) -> None:
        super().__init__(
            app,
            max_headers=invalid_requests.MAX_HEADERS,
            max_field_size=state.header_limit,
            max_line_size=invalid_requests.url_limit(state.header_limit),
            **options,
        )
        self._state = state
        self._max_connections = max_connections

    async def _make_server(self) -> web.Server:
        base, routes = await super()._make_server(), self.app.get(ROUTES)
        handler = base.request_handler if routes is None else cast("_Handler", routes.handle)
        return _Server(base, handler, self._state, self._max_connections)


class _Server(web.Server):
    """A server with the options of ``base`` that creates connections of this module and requests of `Request`."""

    def __init__(self, base: web.Server, handler: _Handler, state: ServerState, max_connections: int) -> None:
        new_request = partial(Request, loop=asyncio.get_running_loop(), client_max_size=state.body_limit)
        super().__init__(handler, request_factory=new_request, **base._kwargs)  # noqa: SLF001 -- see the module's docstring
        self._state = state
        self._max_connections = max_connections

    def __call__(self) -> web.RequestHandler:
        if len(self._connections) >= self._max_connections:
            return _RejectedConnection()  # type: ignore[return-value]  # -- the loop accepts any protocol
        return _ClientConnection(self, self._state, loop=asyncio.get_running_loop(), **self._kwargs)


class _RejectedConnection(asyncio.Protocol):
    """A connection beyond MAX_CONNECTIONS."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close the connection before it has used any memory."""
        transport.close()


class _ClientConnection(web.RequestHandler, UnsentConnection):
    """The connection of a client; at most one of its responses is unsent."""

    __slots__ = (
        "_app_handler",
        "_discards_input",
        "_head_size",
        "_is_new",
        "_lost",
        "response_size",
        "server_state",
    )

    def __init__(
        self, server: web.Server, state: ServerState, *, loop: asyncio.AbstractEventLoop, **options: object
    ) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type]  # -- the options of AppRunner
        self.server_state = state
        self._app_handler: _Handler = server.request_handler
        self._is_new = True
        self._discards_input = False
        self._lost = asyncio.Event()
        self._head_size = 0
        self.response_size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the connection; abort it if its client network has too many connections without a request."""
        peer = transport.get_extra_info("peername")
        if not self.server_state.new_connections.add(self, peer[0] if peer else ""):
            cast("asyncio.Transport", transport).abort()
            return
        # With 0 the transport pauses writing until the kernel has accepted all bytes.
        cast("asyncio.WriteTransport", transport).set_write_buffer_limits(high=0)
        kernel = transport.get_extra_info("socket")
        kernel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_IN_KERNEL)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop counting the connection and its response."""
        self.server_state.new_connections.remove(self)
        self.server_state.unsent.remove(self)
        self._lost.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; reject a request whose head exceeds the limit."""
        if self._discards_input:
            return
        super().data_received(data)
        waiter = self._waiter
        if waiter is None or waiter.done():  # a complete request has arrived
            self._head_size = 0
            return
        self._head_size += len(data)
        if self._head_size > invalid_requests.head_limit(self.server_state.header_limit):
            error = _ErrInfo(_BAD_REQUEST, exc=invalid_requests.HeadTooLargeError(message=""), message="")
            self._messages.append((error, EMPTY_PAYLOAD))
            waiter.set_result(None)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 -- the signature of aiohttp
        """Resume reading if it is paused; aiohttp calls this function twice for each body, and parses b"" again."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        """Count the response as unsent, and read no requests until it is sent."""
        super().pause_writing()
        self._pause_transport_reading()
        self.server_state.unsent.add(self)

    def resume_writing(self) -> None:
        """Stop counting the response as unsent."""
        self.server_state.unsent.remove(self)
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()
        super().resume_writing()

    def abort(self) -> None:
        """Close the connection immediately and discard unsent bytes."""
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: _Handler
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._is_new:
            self._is_new = False
            self.server_state.new_connections.remove(self)
        message = request._message  # noqa: SLF001 -- its public name is deprecated
        if message.upgrade:
            # The parser discards the bytes after such a request, so it is the last one of its connection. The server
            # offers no other protocol and ignores the header Upgrade.
            request._message = message._replace(should_close=True)  # noqa: SLF001 -- see above
        if request.version != HttpVersion11 and not invalid_requests.has_valid_framing(request):
            request_handler = self._reject_framing
        elif request_handler is self._app_handler:  # otherwise it reports an error of the parser
            request_handler = self._handle_admitted
        return super()._handle_request(request, start_time, request_handler)

    async def _handle_admitted(self, request: web.BaseRequest) -> web.StreamResponse:
        """Run the application if a slot is free; the slot is released before the response is sent."""
        admission = self.server_state.admission
        if not (admission.try_acquire() or await admission.acquire()):
            response: web.StreamResponse = self._refuse(request)
        else:
            try:
                response = await self._app_handler(request)
            except web.HTTPException as error:
                # No handler raises it. aiohttp does for an unknown Expect and for a target without a path, and later
                # versions for errors of the parser.
                response = self.handle_error(request, error.status, error)
            finally:
                admission.release()
        if not request.content.is_eof() and request.content_length is None:
            # To parse unread chunks of one byte, of which one read returns thousands, takes up to 80 ms.
            response.force_close()
            self._discards_input = True
        return response

    def _refuse(self, request: web.BaseRequest) -> Response:
        """Return 503. To use little CPU, it looks up no route and logs no line."""
        response = error_response(BusyError("no free slot"))
        response.header_lines += header_lines({"X-Request-Id": new_request_id()})
        response.header_lines += self.server_state.rate_limiter.header_lines(None, free_slots=0)
        response.after_send = partial(self._defer_refused, request)
        if self.server_state.draining:
            response.force_close()
        self.server_state.metrics.observe("refused", "OTHER", response.status, 0.0)
        return response

    async def _defer_refused(self, request: web.BaseRequest) -> None:
        if request.content.is_eof():  # otherwise the connection is about to be closed
            await request.release()  # the bodies of many refused requests would fill the memory
            await self.server_state.admission.defer_refused()

    async def _receive_rest(self) -> None:
        """Discard the rest of a rejected request: to close with unread bytes can discard the response too."""
        self._discards_input = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_TIMEOUT):
                    await self._lost.wait()

    async def _reject_framing(self, request: web.BaseRequest) -> web.StreamResponse:
        return self.handle_error(request, _BAD_REQUEST)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to invalid HTTP or to an internal error; omit what ``exc`` quotes, perhaps a token.

        Raises:
            ConnectionError: A part of another response has been sent.
        """
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("a part of a response has been sent")
        request_id = new_request_id()
        error = invalid_requests.rejection(status, exc, self.server_state.header_limit)
        if error is not None:
            _log.info("request_unreadable", error=type(exc).__name__, request_id=request_id)
        else:
            _log.error("request_failed", request_id=request_id, exc_info=exc)
            error = internal_error(request_id)
        response = error_response(error)
        response.after_send = self._receive_rest
        response.header_lines += header_lines({"X-Request-Id": request_id})
        response.force_close()
        self.server_state.metrics.observe("unreadable", "OTHER", response.status, 0.0)
        return response
