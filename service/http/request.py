"""The parts of a request that handlers read: the body, the query and whether the client accepts JSON."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from service.http.errors import HttpError, body_too_large
from service.http.fields import quoted
from service.http.forms import parse_form, parse_multipart
from service.http.server.state import PRINCIPAL, SERVER_STATE

_PARSERS: Final[Mapping[str, Callable[[bytes, str], Any]]] = {
    "application/json": lambda raw, _: parse_json(raw),
    "application/x-www-form-urlencoded": lambda raw, _: parse_form(raw),
    "multipart/form-data": parse_multipart,
}
"""The parser of each media type; its second argument is the whole Content-Type."""

_MAX_CONTENT_TYPE: Final = 256
"""Characters: the type, a boundary of at most 70 characters (RFC 2046) and a charset fit."""

_MAX_DEPTH: Final = 64
"""Levels of nested arrays and objects. No body of the API needs more than three."""

_TOO_DEEP: Final = f"arrays and objects are nested more than {_MAX_DEPTH} levels deep"
_JSON_TYPES: Final = frozenset({"application/json", "application/*", "*/*"})


def query_parameter(request: web.Request, name: str) -> str | None:
    """Return the value of a query parameter; the last one if it is repeated, None if it is absent."""
    if name not in request.query:
        return None
    return request.query.getall(name)[-1]


def check_acceptable(request: web.Request) -> None:
    """Check that the client accepts JSON; a client without an Accept header does. Weights are ignored.

    Raises:
        HttpError: 404 if ``format`` names another format, 406 if ``Accept`` excludes JSON.
    """
    if request.query and query_parameter(request, "format") not in {None, "", "json"}:
        raise HttpError(404, "Not found.")
    accepted = request.headers.get("Accept")
    if accepted is None or accepted == "*/*":
        return
    media_ranges = (media_range.partition(";")[0].strip().lower() for media_range in accepted.split(","))
    if _JSON_TYPES.isdisjoint(media_ranges):
        raise HttpError(406, "Could not satisfy the request Accept header.")


async def read_body(request: web.Request, *, timeout: float) -> Any:  # noqa: ASYNC109 -- a setting; the bound is here
    """Return the decoded body: any JSON value, or an object for a form; ``{}`` if the body is empty.

    Raises:
        HttpError: 400 if the body cannot be parsed, 406 if the client does not accept JSON, 408 if the body does not
            arrive within ``timeout`` seconds, 413 if it is too large, 415 if its media type is not supported.
        BusyError: too many bodies are arriving.
    """
    raw = await _read(request, timeout)
    content_type = request.headers.get("Content-Type", "")
    if raw and len(content_type) > _MAX_CONTENT_TYPE:
        raise HttpError(400, f"The Content-Type is longer than {_MAX_CONTENT_TYPE} characters.")
    parse = _PARSERS.get(content_type.partition(";")[0].strip().lower())
    if raw and parse is None:
        raise HttpError(415, f"Unsupported media type {quoted(content_type)} in request.")
    check_acceptable(request)
    return parse(raw, content_type) if raw and parse is not None else {}


def parse_json(raw: bytes) -> Any:
    """Return the JSON value in ``raw``.

    orjson is fast and strict. What it rejects is parsed again by the standard library, whose error messages clients
    know, and which accepts a lone surrogate, so that the error can name its field.

    Raises:
        HttpError: 400, with the reason.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = _parse_leniently(raw)
    # The depth is at most the number of opening brackets, which is small in most bodies.
    if raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH and _is_deeper(value, _MAX_DEPTH):
        raise _parse_error(_TOO_DEEP)
    return value


def _parse_leniently(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(), parse_constant=_reject_constant)
    except RecursionError:
        raise _parse_error(_TOO_DEEP) from None
    except ValueError as error:
        raise _parse_error(str(error)) from None


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether ``value`` has more than ``depth`` levels of arrays and objects, without recursion."""
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


def _reject_constant(name: str) -> None:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


async def _read(request: web.Request, timeout: float) -> bytes:  # noqa: ASYNC109 -- see above
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HttpError(
            415, "Unsupported content encoding; send the body uncompressed.", closes_connection=True
        )
    limit = request.client_max_size
    if (request.content_length or 0) > limit:
        raise body_too_large(limit)
    try:
        if request.content.is_eof():  # the body arrived with the head: there is nothing to wait for
            return _bounded(request.content.read_nowait(), limit)
        expected = limit if request.content_length is None else request.content_length
        with request.app[SERVER_STATE].arriving.admit(request[PRINCIPAL].token_id, expected):
            async with asyncio.timeout(timeout):
                return await request.read()
    except TimeoutError:
        raise HttpError(408, "The request body did not arrive in time.", closes_connection=True) from None
    except web.HTTPRequestEntityTooLarge:
        raise body_too_large(limit) from None
    except ConnectionError:  # no client receives this response; a 400 keeps it out of the count of failures
        raise HttpError(
            400, "The connection ended before the request body.", closes_connection=True
        ) from None


def _bounded(raw: bytes, limit: int) -> bytes:
    if len(raw) > limit:
        raise body_too_large(limit)
    return raw
