"""Answers that stay the same as long as the process lives: documents, and the pages that show them."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from service.http.answers import COMMON_HEADERS, empty_response, error_response
from service.http.errors import method_not_allowed
from service.http.server.middleware import Handler, with_request_context
from service.http.server.response import Response, header_lines
from service.http.state import API

_ALLOW: Final = "GET, HEAD, OPTIONS"


@dataclass(frozen=True, slots=True)
class Page:
    """Constant bytes under a path, for everybody: no token is asked for.

    ``packed`` says that ``body`` is compressed by gzip; ``for_ever`` that no other bytes will ever stand under this
    path, so that browsers need not ask again. All others are asked for each time, and sent if they have changed.
    """

    path: str
    content_type: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    packed: bool = False
    for_ever: bool = False


def add_page(app: web.Application, page: Page) -> None:
    """Serve ``page``."""
    app.router.add_route("*", page.path, with_request_context(app[API], page.path, _answering(page)))


def _answering(page: Page) -> Handler:
    tag = hashlib.sha256(page.body).hexdigest()[:32]
    headers = {
        **COMMON_HEADERS,
        "Allow": _ALLOW,
        "Content-Type": page.content_type,
        "ETag": f'"{tag}"',
        "Cache-Control": "public, max-age=31536000, immutable" if page.for_ever else "no-cache",
        **page.headers,
    }
    unchanged = header_lines({name: value for name, value in headers.items() if name != "Content-Type"})
    # Made once: unpacking takes 17 ms, and each response would keep its own copy until its client has read it.
    plain, packed = _plain_and_packed(page, headers)

    async def answer(request: web.Request) -> Response:
        if request.method == "OPTIONS":
            return empty_response(status=200, allow=_ALLOW)
        if request.method not in {"GET", "HEAD"}:
            return error_response(method_not_allowed(request.method), allow=_ALLOW)
        if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
            return Response(unchanged, status=304)
        lines, body = packed if "gzip" in request.headers.get("Accept-Encoding", "") else plain
        return Response(lines, body, is_constant=True)

    return answer


def _plain_and_packed(page: Page, headers: Mapping[str, str]) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    """Header lines and body for clients without gzip and for those with it; one for both if it is not packed."""
    if not page.packed:
        plain = header_lines(headers), page.body
        return plain, plain
    headers = {**headers, "Vary": "Accept-Encoding"}
    weak = {**headers, "ETag": f"W/{headers['ETag']}"}  # the same page in other bytes
    packed = header_lines({**headers, "Content-Encoding": "gzip"}), page.body
    return (header_lines(weak), gzip.decompress(page.body)), packed
