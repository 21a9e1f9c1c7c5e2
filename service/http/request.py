"""A request's body: bounded in size and time, JSON or a form."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from service.http.errors import HttpError, body_too_large
from service.http.forms import parse_form, parse_multipart
from service.http.negotiation import check_acceptable
from service.http.state import API, PRINCIPAL

_PARSERS: Final[Mapping[str, Callable[[bytes, str], Any]]] = {
    "application/json": lambda raw, _: parse_json(raw),
    "application/x-www-form-urlencoded": lambda raw, _: parse_form(raw),
    "multipart/form-data": parse_multipart,
}
"""How a body of each type is read; the second argument is the whole Content-Type."""

_MAX_CONTENT_TYPE: Final = 256
"""Characters: the type, a boundary of at most 70 characters (RFC 2046) and a charset fit."""

_TOO_DEEP: Final = "nested too deeply"
_MAX_DEPTH: Final = 200
"""Arrays and objects inside one another. No body of the API needs more than three; Python's recursion limit ends
what writes a deeper value, and orjson writes no more than 254."""


async def read_body(request: web.Request, *, timeout: float) -> Any:  # noqa: ASYNC109 -- a setting; the bound is here
    """The value of the body: any in JSON, an object in a form; an empty body is ``{}``.

    Raises:
        Refusal: 400 it cannot be read, 406 the caller takes no JSON, 408 it did not arrive in time, 413 too large,
            415 not a type that is read.
        BusyError: too many bodies are arriving.
    """
    raw = await _read(request, timeout)
    content_type = request.headers.get("Content-Type", "")
    if raw and len(content_type) > _MAX_CONTENT_TYPE:
        raise HttpError(400, f"The Content-Type is longer than {_MAX_CONTENT_TYPE} characters.")
    parse = _PARSERS.get(content_type.partition(";")[0].strip().lower())
    if raw and parse is None:
        raise HttpError(415, f'Unsupported media type "{content_type}" in request.')
    check_acceptable(request)
    return parse(raw, content_type) if raw and parse is not None else {}


def parse_json(raw: bytes) -> Any:
    """The value that ``raw`` writes.

    Two parsers: the quick one is strict; what it refuses is read again by the standard library's, which says what
    is wrong in the words that clients know and accepts a lone surrogate, for its field to be named.

    Raises:
        Refusal: 400, with the reason.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = _parse_leniently(raw)
    # A value has as many brackets as it is deep, and most have few: these are not looked through.
    if raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH and _is_deeper(value, _MAX_DEPTH):
        raise _parse_error(_TOO_DEEP)
    return value


def _parse_leniently(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise _parse_error(_TOO_DEEP) from None
    except ValueError as error:
        raise _parse_error(str(error)) from None


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether more than ``depth`` arrays and objects of ``value`` are inside one another; no recursion."""
    level = [value]
    for _ in range(depth + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [
            child for item in containers for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not containers:
            return False
    return True


def _parse_error(reason: str) -> HttpError:
    return HttpError(400, f"JSON parse error - {reason}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


async def _read(request: web.Request, timeout: float) -> bytes:  # noqa: ASYNC109 -- see above
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HttpError(415, "Unsupported content encoding: send the body as it is.", ends_connection=True)
    if (request.content_length or 0) > request.client_max_size:
        raise body_too_large(request.client_max_size)
    try:
        if request.content.is_eof():  # it came with the head: nothing is to be waited for
            return _bounded(request.content.read_nowait(), request.client_max_size)
        expected = request.client_max_size if request.content_length is None else request.content_length
        with request.app[API].arriving.admit(request[PRINCIPAL].token_id, expected):
            async with asyncio.timeout(timeout):
                return await request.read()
    except TimeoutError:
        raise HttpError(408, "The request body did not arrive in time.", ends_connection=True) from None
    except web.HTTPRequestEntityTooLarge:
        raise body_too_large(request.client_max_size) from None
    except ConnectionError:  # nobody reads this answer; the log and the metrics count no fault of the service
        raise HttpError(400, "The connection ended before the request body.", ends_connection=True) from None


def _bounded(raw: bytes, limit: int) -> bytes:
    if len(raw) > limit:
        raise body_too_large(limit)
    return raw
