"""The parts of a request that handlers read: body, query parameters and accepted media types."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from service.http.errors import HttpError, body_too_large
from service.http.fields import quoted
from service.http.forms import parse_form, parse_multipart
from service.http.server.state import Request, state_of

_MAX_CONTENT_TYPE: Final = 256
"""Characters: enough for the type, a boundary of at most 70 characters (RFC 2046) and a charset."""

_MAX_DEPTH: Final = 64
"""Levels of nested arrays and objects; no valid body has more than three."""

_TOO_DEEP: Final = f"arrays and objects are nested more than {_MAX_DEPTH} levels deep"
_NO_WEIGHT: Final = re.compile(r"q\s*=\s*0(\.0*)?")
"""The weight of what a client does not accept: RFC 9110, section 12.4.2."""


def query_parameter(request: web.Request, name: str) -> str | None:
    """Return the last value of a query parameter; None if it is absent."""
    if name not in request.query:
        return None
    return request.query.getall(name)[-1]


def joined_header(request: web.BaseRequest, name: str) -> str:
    """Return the value of a header that is a list; its lines are joined as in RFC 9110, section 5.3."""
    return ", ".join(request.headers.getall(name, ()))


def accepts(request: web.BaseRequest, name: str, candidates: Sequence[str]) -> bool:
    """Return whether a header accepts a value: the first of ``candidates`` that it lists must have a weight above 0.

    Args:
        request: The request.
        name: The header, for example Accept-Encoding.
        candidates: The lower-case names of the value in the header, the most specific first.
    """
    accepted: dict[str, bool] = {}
    for item in joined_header(request, name).lower().split(","):
        candidate, *parameters = map(str.strip, item.split(";"))
        accepted[candidate] = not any(map(_NO_WEIGHT.fullmatch, parameters))
    return next((accepted[candidate] for candidate in candidates if candidate in accepted), False)


def check_acceptable(request: web.Request, media_type: str = "application/json") -> None:
    """Check that the client accepts ``media_type``, as it does without an Accept header.

    Raises:
        HttpError: 404 if ``format`` names another format than JSON, 406 if ``Accept`` excludes the media type.
    """
    if request.rel_url.raw_query_string and query_parameter(request, "format") not in {None, "", "json"}:
        raise HttpError(404, "Not found.")
    accepted = request.headers.get("Accept")
    if accepted is None or accepted == "*/*":
        return
    if not accepts(request, "Accept", (media_type, f"{media_type.partition('/')[0]}/*", "*/*")):
        raise HttpError(406, "Could not satisfy the request Accept header.")


async def read_body(request: Request) -> Any:
    """Return the decoded body: any JSON value, or an object for a form; ``{}`` if the body is empty.

    Raises:
        HttpError: 400 if the body cannot be parsed, 406 if the client does not accept JSON, 408 if the body does not
            arrive within BODY_TIMEOUT, 413 if it is too large, 415 if its media type is not supported.
        BusyError: Too many bodies are arriving, or the body has arrived and no slot is free.
    """
    assert request.principal is not None, "a handler reads the body of an authenticated request"
    raw = await read_bytes(request, share=request.principal.token_id)
    content_type = request.headers.get("Content-Type", "")
    if raw and len(content_type) > _MAX_CONTENT_TYPE:
        raise HttpError(400, f"The Content-Type is longer than {_MAX_CONTENT_TYPE} characters.")
    parse = _PARSERS.get(content_type.partition(";")[0].strip().lower())
    if raw and parse is None:
        raise HttpError(415, f"Unsupported media type {quoted(content_type)} in request.")
    check_acceptable(request)
    return parse(raw, content_type) if raw and parse is not None else {}


def parse_json(raw: bytes, _content_type: str = "") -> Any:
    """Return the JSON value in ``raw``.

    The standard library parses again what orjson rejects: its error messages are those of Sentry's API, and it
    accepts a lone surrogate, so that the error message can name the field.

    Raises:
        HttpError: 400 if ``raw`` is not valid JSON or is nested too deeply.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = _parse_leniently(raw)
    # Most bodies have few opening brackets, and the depth is at most their number.
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
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
        if not containers:
            return False
    return True


def _parse_error(reason: str) -> HttpError:
    return HttpError(400, f"JSON parse error - {reason}")


def _reject_constant(name: str) -> None:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


def _is_uncompressed(request: web.Request) -> bool:
    return joined_header(request, "Content-Encoding").lower() in {"", "identity"}


async def read_bytes(request: web.Request, *, share: int) -> bytes:
    """Return the undecoded body.

    Args:
        request: The request.
        share: A number of the client; the bodies of one client may use a part of the limit on arriving bodies.

    Raises:
        HttpError: 400 if the connection ends, 408 if the body does not arrive in time, 413 if it is too large, 415 if
            it is compressed.
        BusyError: As `read_body`.
    """
    if "Content-Encoding" in request.headers and not _is_uncompressed(request):
        raise HttpError(415, "Unsupported content encoding; send the body uncompressed.", closes_connection=True)
    limit = request.client_max_size
    try:
        if request.content.is_eof():  # the body arrived with the head
            raw = request.content.read_nowait()
            if len(raw) > limit:
                raise body_too_large(limit)
            return raw
        if (request.content_length or 0) > limit:
            raise body_too_large(limit)
        expected = limit if request.content_length is None else request.content_length
        state = state_of(request)
        with state.arriving.admit(share, expected):
            async with asyncio.timeout(state.body_timeout):
                return await request.read()
    except TimeoutError:
        raise HttpError(408, "The request body did not arrive in time.", closes_connection=True) from None
    except web.HTTPRequestEntityTooLarge:
        raise body_too_large(limit) from None
    except ConnectionError:  # no client receives the response; 400 keeps it out of the rate of 5xx
        raise HttpError(400, "The connection ended before the request body.", closes_connection=True) from None


_PARSERS: Final[Mapping[str, Callable[[bytes, str], Any]]] = {
    "application/json": parse_json,
    "application/x-www-form-urlencoded": lambda raw, _: parse_form(raw),
    "multipart/form-data": parse_multipart,
}
"""The parser of each media type. Its arguments are the body and the whole Content-Type."""
