"""The steps around each handler: request id, deadline, error responses, common headers, log and metrics."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from multidict import istr

from service.http.errors import internal_error, request_timed_out
from service.http.server.response import Response, error_response, header_lines
from service.http.server.state import FAULT, PRINCIPAL, REQUEST_ID, ServerState

_log = structlog.get_logger(__name__)

_REQUEST_ID_HEADER: Final = istr("X-Request-Id")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNAVAILABLE: Final = 503
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that are labels of metrics; for others, a client could create any number of labels."""

Handler = Callable[[web.Request], Awaitable[Response]]


def new_request_id() -> str:
    """Return a random id. It is no secret, so a generator without a system call is sufficient."""
    return f"{random.getrandbits(128):032x}"


class Middleware:
    """The middleware of one route.

    Args:
        state: The state of the server.
        route: The label of the route in metrics.
        handler: Returns the response; its exceptions become responses without their text.
    """

    def __init__(self, state: ServerState, route: str, handler: Handler) -> None:
        self._state = state
        self._route = route
        self._handler = handler

    async def handle(self, request: web.Request) -> Response:
        """Return the response of the handler, or an error response if it fails or exceeds the deadline."""
        started = time.perf_counter()
        client_id = request.headers.get(_REQUEST_ID_HEADER)
        request_id = client_id if client_id and _REQUEST_ID.fullmatch(client_id) else new_request_id()
        request[REQUEST_ID] = request_id
        task, deadlines = asyncio.current_task(), self._state.deadlines
        assert task is not None, "a handler runs in a task"
        deadlines.begin(task)
        try:
            response = await self._handler(request)
        except asyncio.CancelledError:
            if not deadlines.end(task):
                raise
            response = error_response(request_timed_out())
        except Exception:  # noqa: BLE001 -- the response to any exception is 500
            _log.exception("request_failed", request_id=request_id, path=request.path)
            response = error_response(internal_error(request_id))
        finally:
            deadlines.end(task)
        # The slot of this request is released before the response is sent.
        free_slots = self._state.admission.free + 1
        lines = self._state.rate_limiter.header_lines(request.get(PRINCIPAL), free_slots=free_slots)
        response.header_lines += header_lines({"X-Request-Id": request_id}) + lines
        if self._state.draining:
            response.force_close()
        self._record(request, response, time.perf_counter() - started)
        return response

    def _record(self, request: web.Request, response: Response, seconds: float) -> None:
        """Count the request in the metrics and log it."""
        method, status = request.method, response.status
        self._state.metrics.observe(self._route, method if method in _METHODS else "OTHER", status, seconds)
        # Only for 503: a lookup of an absent key is slow, because aiohttp raises an exception internally.
        fault = {"fault": request[FAULT]} if status == _UNAVAILABLE and FAULT in request else {}
        _log.info(
            "request",
            method=method,
            path=request.path,
            status=status,
            milliseconds=int(seconds * 1e5) / 100,
            request_id=request[REQUEST_ID],
            **fault,
        )
