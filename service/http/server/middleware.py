"""The routes of a server, and the steps around each handler: request id, deadline, errors, headers, log, metrics."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

import structlog
from aiohttp import HttpVersion11, hdrs, web
from multidict import istr

from service.domain.errors import BusyError, ProjectKeyError, UnavailableError
from service.http.errors import HttpError, internal_error, method_not_allowed, request_timed_out
from service.http.server.response import Response, empty_response, error_response, header_lines
from service.http.server.state import Request, ServerState

_log = structlog.get_logger(__name__)

_REQUEST_ID_HEADER: Final = istr("X-Request-Id")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that are labels of metrics; for others, a client could create any number of labels."""

Handler = Callable[[Request], Awaitable[Response]]


def new_request_id() -> str:
    """Return a random id. It is no secret, so a generator without a system call is sufficient."""
    return f"{random.getrandbits(128):032x}"


class Middleware:
    """The middleware of one route.

    Args:
        state: The state of the server.
        route: The label of the route in metrics.
        handler: Returns the response; its exceptions become responses, of which only the expected ones have a text.
        allow: The methods of the resource, for the header Allow of its responses; "" omits the header.
    """

    def __init__(self, state: ServerState, route: str, handler: Handler, allow: str = "") -> None:
        self._state = state
        self._route = route
        self._handler = handler
        self._allow = header_lines({"Allow": allow}) if allow else ""
        self._log = _log.bind()  # `_log` itself looks the configured logger up for each line

    async def handle(self, request: Request) -> Response:
        """Return the response of the handler, or an error response if it fails or exceeds the deadline."""
        started = time.perf_counter()
        client_id = request.headers.get(_REQUEST_ID_HEADER)
        request_id = client_id if client_id and _REQUEST_ID.fullmatch(client_id) else new_request_id()
        request.request_id = request_id
        task, deadlines, fault = asyncio.current_task(), self._state.deadlines, None
        assert task is not None, "a handler runs in a task"
        deadlines.begin(task)
        try:
            response = await self._handler(request)
        except asyncio.CancelledError:
            if not deadlines.end(task):
                raise
            response = error_response(request_timed_out())
        except (HttpError, ProjectKeyError) as error:
            fault = str(error) if isinstance(error, BusyError | UnavailableError) else None
            response = error_response(error)
        except Exception:  # noqa: BLE001 -- the response to any exception is 500
            _log.exception("request_failed", request_id=request_id, path=request.path)
            response = error_response(internal_error(request_id))
        finally:
            deadlines.end(task)
        # The slot of this request is released before the response is sent.
        free_slots = self._state.admission.free + 1
        rates = self._state.rate_limiter.header_lines(request.principal, free_slots=free_slots)
        # The format of the id has no character that must not be in a header.
        response.header_lines = f"{response.header_lines}{self._allow}X-Request-Id: {request_id}\r\n{rates}"
        if self._state.draining:
            response.force_close()
        self._record(request, response.status, request_id, time.perf_counter() - started, fault)
        return response

    def _record(self, request: Request, status: int, request_id: str, seconds: float, fault: str | None) -> None:
        """Count the request in the metrics and log it; ``fault`` is the reason for the status 503."""
        method = request.method
        self._state.metrics.observe(self._route, method if method in _METHODS else "OTHER", status, seconds)
        values = {
            "method": method,
            "path": request.path,
            "status": status,
            "milliseconds": int(seconds * 1e5) / 100,
            "request_id": request_id,
        }
        self._log.info("request", **(values if fault is None else {**values, "fault": fault}))


def allowed(methods: Collection[str]) -> str:
    """Return the value of the header Allow for a resource with handlers for ``methods``."""
    head = ["HEAD"] if "GET" in methods else []
    return ", ".join([*methods, *head, "OPTIONS"])


class Routes:
    """The routes of an application, in place of aiohttp's router, which takes ten times as long.

    Args:
        unknown: Handles the requests to all other paths.
    """

    def __init__(self, unknown: Middleware) -> None:
        self._unknown = unknown
        self._routes: list[tuple[re.Pattern[str], Middleware]] = []

    def add(self, path: str, middleware: Middleware) -> None:
        """Add a route; of those that match a path, the first decides.

        Args:
            path: The path; each ``{name}`` in it is a variable, whose value is a part between two slashes.
            middleware: Handles the requests.
        """
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
        self._routes.append((re.compile(pattern), middleware))

    def add_methods(self, state: ServerState, path: str, handlers: Mapping[str, Handler]) -> None:
        """Add a route with a handler for each method; that of GET also responds to HEAD."""

        async def respond(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            if method == "OPTIONS":
                return empty_response(status=200)
            if method not in handlers:
                raise method_not_allowed(request.method)
            return await handlers[method](request)

        self.add(path, Middleware(state, path, respond, allowed(handlers)))

    def handle(self, request: Request) -> Awaitable[Response]:
        """Return the response to ``request``.

        Raises:
            web.HTTPNotFound: The target is not a path.
        """
        path, found = request.rel_url.path_safe, self._unknown  # in this form of the path, %2F is not a slash
        for pattern, middleware in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                request.path_variables, found = match.groupdict(), middleware
                break
        if not path.startswith("/"):
            raise web.HTTPNotFound
        return _continue(request, found) if hdrs.EXPECT in request.headers else found.handle(request)


async def _continue(request: Request, middleware: Middleware) -> Response:
    """Ask for the body, as the header Expect requires (RFC 9110, section 10.1.1), and handle the request.

    Raises:
        web.HTTPExpectationFailed: The value of the header is not supported.
    """
    expectation = request.headers[hdrs.EXPECT]
    if request.version == HttpVersion11:
        if expectation.lower() != "100-continue":
            raise web.HTTPExpectationFailed(text=f"Unknown Expect: {expectation}")
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # no part of the response has been sent
    return await middleware.handle(request)


ROUTES: Final = web.AppKey("routes", Routes)
"""The key of the routes of an application that is served without aiohttp's router."""
