"""What surrounds every request: its id, its time, its record, and an answer whatever happens."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from multidict import istr

from service.http.answers import refused
from service.http.refusals import internal_error, too_slow
from service.http.state import CALLER, FAULT, REQUEST_ID, Api, new_request_id

_log = structlog.get_logger(__name__)

_REQUEST_ID: Final = istr("X-Request-Id")
_REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNAVAILABLE: Final = 503
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that are labels; callers must not make any."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def recorded(api: Api, route: str, handler: Handler) -> Handler:
    """``handler`` for requests that get an id, an answer within their time, and one line in the log.

    Not a middleware of the library, whose chain and whose route each request would look for again.

    Args:
        api: what counts requests.
        route: what the metrics call these requests.
        handler: answers them; what it raises is shown to nobody.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        given = request.headers.get(_REQUEST_ID)
        request[REQUEST_ID] = given if given and _REQUEST_ID_FORM.fullmatch(given) else new_request_id()
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        api.room.taken += 1
        api.deadlines.begin(task)
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            if not api.deadlines.end(task):
                raise
            response = refused(too_slow("The request took too long. Try again."))
        except Exception:  # noqa: BLE001 -- whatever it is, the caller gets an answer
            _log.exception("request_failed", request_id=request[REQUEST_ID], path=request.path)
            response = refused(internal_error(request[REQUEST_ID]))
        finally:
            api.room.taken -= 1
            api.deadlines.end(task)
        _tell(api, route, request, response, time.perf_counter() - began)
        return response

    return answer


def _tell(api: Api, route: str, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    """Tell the caller, the metrics and the log."""
    request_id = request[REQUEST_ID]
    response.headers[_REQUEST_ID] = request_id
    api.rate_limits.tell(response.headers, request.get(CALLER), in_flight=api.room.taken)
    if api.draining:
        response.force_close()
    status, method = response.status, request.method
    api.metrics.observe(route, method if method in _METHODS else "OTHER", status, seconds)
    values = {"fault": request[FAULT]} if status == _UNAVAILABLE and FAULT in request else {}
    _log.info(
        "request",
        method=method,
        path=request.path,
        status=status,
        milliseconds=int(seconds * 1e5) / 100,
        request_id=request_id,
        **values,
    )
