"""What surrounds every request: its id, its time, its record, and an answer whatever happens."""

import asyncio
import re
import time
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import istr

from service.http.answers import refused
from service.http.refusals import internal_error, too_slow
from service.http.state import API, CALLER, FAULT, REQUEST_ID, Api, new_request_id

_log = structlog.get_logger(__name__)

_REQUEST_ID: Final = istr("X-Request-Id")
_REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, answer it, count it and write one line."""
    api = request.app[API]
    began = time.perf_counter()
    given = request.headers.get(_REQUEST_ID)
    request_id = given if given and _REQUEST_ID_FORM.fullmatch(given) else new_request_id()
    request[REQUEST_ID] = request_id
    response = await _answer(api, request, handler)
    response.headers[_REQUEST_ID] = request_id
    api.rate_limits.tell(response.headers, request.get(CALLER), in_flight=api.room.taken)
    if api.draining:
        response.force_close()
    seconds = time.perf_counter() - began
    route = request.match_info.route.resource
    template = "unknown" if route is None or route.canonical.startswith("/{") else route.canonical
    api.metrics.observe(template, _known_method(request.method), response.status, seconds)
    _log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status,
        milliseconds=round(seconds * 1000, 2),
        request_id=request_id,
        **({"fault": request[FAULT]} if FAULT in request else {}),
    )
    return response


async def _answer(api: Api, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer within the request's time, with a 5xx that shows no cause where all else fails."""
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    api.room.taken += 1
    api.deadlines.begin(task)
    try:
        return await handler(request)
    except asyncio.CancelledError:
        if api.deadlines.end(task):
            return refused(too_slow("The request took too long. Try again."))
        raise
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001 -- whatever it is, the caller gets an answer
        _log.exception("request_failed", request_id=request[REQUEST_ID], path=request.path)
        return refused(internal_error(request[REQUEST_ID]))
    finally:
        api.room.taken -= 1
        api.deadlines.end(task)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _known_method(method: str) -> str:
    """The method as a label; callers must not make labels."""
    return method if method in _METHODS else "OTHER"
