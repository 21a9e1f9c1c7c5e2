"""What surrounds every request that has a route: its id, its time, its record, and an answer whatever happens."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from multidict import istr

from service.domain.model import Principal
from service.http.answers import error_response
from service.http.errors import internal_error, request_timed_out
from service.http.server.response import Response
from service.http.state import FAULT, PRINCIPAL, REQUEST_ID, Api, new_request_id

_log = structlog.get_logger(__name__)

_REQUEST_ID: Final = istr("X-Request-Id")
_REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNAVAILABLE: Final = 503
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that are labels; callers must not make any."""

Handler = Callable[[web.Request], Awaitable[Response]]


def with_request_context(api: Api, route: str, handler: Handler) -> Handler:
    """``handler`` for requests that get an id, an answer within their time, and one line in the log.

    Not a middleware of the library, whose chain and whose route each request would look for again.

    Args:
        api: what counts requests.
        route: what the metrics call these requests.
        handler: answers them; what it raises is shown to nobody.
    """

    async def respond(request: web.Request) -> Response:
        began = time.perf_counter()
        given = request.headers.get(_REQUEST_ID)
        request[REQUEST_ID] = given if given and _REQUEST_ID_FORM.fullmatch(given) else new_request_id()
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        api.admission.taken += 1
        api.deadlines.begin(task)
        try:
            answer = await handler(request)
        except asyncio.CancelledError:
            if not api.deadlines.end(task):
                raise
            answer = error_response(request_timed_out("The request took too long. Try again."))
        except Exception:  # noqa: BLE001 -- whatever it is, the caller gets an answer
            _log.exception("request_failed", request_id=request[REQUEST_ID], path=request.path)
            answer = error_response(internal_error(request[REQUEST_ID]))
        finally:
            api.admission.taken -= 1
            api.deadlines.end(task)
        add_common_headers(api, answer, request[REQUEST_ID], request.get(PRINCIPAL))
        _log_request(api, route, request, answer, time.perf_counter() - began)
        return answer

    return respond


def add_common_headers(api: Api, answer: Response, request_id: str, caller: Principal | None) -> None:
    """Add what every answer tells: its id, and how much more may be asked."""
    in_flight = api.admission.most - api.admission.free
    answer.add(f"X-Request-Id: {request_id}\r\n{api.rate_limiter.headers(caller, in_flight=in_flight)}")
    if api.draining:
        answer.force_close()


def _log_request(api: Api, route: str, request: web.Request, answer: Response, seconds: float) -> None:
    """Tell the metrics and the log."""
    status, method = answer.status, request.method
    api.metrics.observe(route, method if method in _METHODS else "OTHER", status, seconds)
    # Asked for only where it can be: to look for what is not there costs an exception.
    values = {"fault": request[FAULT]} if status == _UNAVAILABLE and FAULT in request else {}
    _log.info(
        "request",
        method=method,
        path=request.path,
        status=status,
        milliseconds=int(seconds * 1e5) / 100,
        request_id=request[REQUEST_ID],
        **values,
    )
