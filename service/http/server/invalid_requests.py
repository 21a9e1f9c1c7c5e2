"""The errors of requests that aiohttp rejects before a handler runs."""

from typing import Final

from aiohttp import HttpVersion10, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from service.http.errors import NOT_FOUND, HttpError

MAX_HEADERS: Final = 128

_HEAD_FACTOR: Final = 4
"""A request head may have as many times the bytes of HEADER_LIMIT."""

_TEXTS: Final = {
    404: NOT_FOUND,  # a target without a path, such as "*"
    417: "The only supported value of the header Expect is 100-continue.",
}


class HeadTooLargeError(BadHttpMessage):
    """A request head is too large, although each of its headers has an accepted size."""


def head_limit(header_limit: int) -> int:
    """Return the limit of a request head in bytes; the parser limits only its parts."""
    return _HEAD_FACTOR * header_limit


def url_limit(header_limit: int) -> int:
    """Return the limit of a URL in bytes, which differs because the parser reports only the limit."""
    return header_limit + 1


def rejection(status: int, exc: BaseException | None, header_limit: int) -> HttpError | None:
    """Return the error response for an exception of aiohttp, without what it quotes; None for an internal error."""
    match exc:
        case HeadTooLargeError():
            return HttpError(431, f"The request head is longer than {head_limit(header_limit)} bytes.")
        case LineTooLong() if exc.args[1] == header_limit:
            return HttpError(431, f"A header is longer than {header_limit} bytes.")
        case LineTooLong():
            return HttpError(414, f"The URL is longer than {url_limit(header_limit)} bytes.")
        case BadHttpMessage() if exc.message.startswith("Too many headers"):
            return HttpError(431, f"The request has more than {MAX_HEADERS} headers.")
        case web.HTTPException() if status in _TEXTS:
            return HttpError(status, _TEXTS[status])
    return HttpError(400, "The request is not valid HTTP.") if status == 400 else None  # noqa: PLR2004 -- see above


def has_valid_framing(request: web.BaseRequest) -> bool:
    """Return whether the end of a request other than HTTP/1.1 is unambiguous: only HTTP/1.0 without chunks.

    The parser accepts all versions. In HTTP/1.0, Transfer-Encoding is faulty framing: RFC 9112, section 6.1.
    """
    return request.version == HttpVersion10 and "Transfer-Encoding" not in request.headers
