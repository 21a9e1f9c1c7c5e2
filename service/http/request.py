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

_PARSERS: Final[Mapping[str, Callable[[bytes, str], Any]]] = {
    "application/json": lambda raw, _: parse_json(raw),
    "application/x-www-form-urlencoded": lambda raw, _: parse_form(raw),
    "multipart/form-data": parse_multipart,
}
"""How a body of each type is read; the second argument is the whole Content-Type."""


async def read_body(request: web.Request, *, timeout: float) -> Any:  # noqa: ASYNC109 -- a setting; the bound is here
    """The value of the body: any in JSON, an object in a form; an empty body is ``{}``.

    Raises:
        Refusal: 400 it cannot be read, 406 the caller takes no JSON, 408 it did not arrive in time, 413 too large,
            415 not a type that is read.
    """
    raw = await _read(request, timeout)
    content_type = request.headers.get("Content-Type", "")
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
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            return json.loads(raw.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise HttpError(400, f"JSON parse error - {reason}") from None


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
