"""Constant responses: documents and the pages that show them."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from service.http.request import accepts, joined_header
from service.http.server.middleware import Routes
from service.http.server.response import COMMON_HEADERS, Response, header_lines
from service.http.server.state import ServerState

_ETAG: Final = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Page:
    """Constant content at a path, which is served without a token.

    Args:
        path: The path.
        content_type: The media type.
        body: The content, compressed with gzip if ``is_compressed``.
        headers: Further response headers.
        is_compressed: Whether ``body`` is compressed; clients that do not accept gzip receive it decompressed.
        is_immutable: Whether the content of the path never changes, so that clients need not revalidate it.
    """

    path: str
    content_type: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_compressed: bool = False
    is_immutable: bool = False


def add_page(routes: Routes, state: ServerState, page: Page) -> None:
    """Add the route of ``page``."""
    routes.add_methods(state, page.path, {"GET": _PageHandler(page).respond})


class _PageHandler:
    """Responds with a page, whose headers and bodies are computed once: decompressing the largest takes 17 ms."""

    def __init__(self, page: Page) -> None:
        self._tag = hashlib.sha256(page.body).hexdigest()[:32]
        headers = {
            **COMMON_HEADERS,
            "Content-Type": page.content_type,
            "ETag": f'"{self._tag}"',
            "Cache-Control": "public, max-age=31536000, immutable" if page.is_immutable else "no-cache",
            **page.headers,
        }
        if page.is_compressed:
            headers["Vary"] = "Accept-Encoding"
        self._not_modified = header_lines({name: value for name, value in headers.items() if name != "Content-Type"})
        self._plain = self._gzip = header_lines(headers), page.body
        if page.is_compressed:
            self._gzip = header_lines({**headers, "Content-Encoding": "gzip"}), page.body
            headers["ETag"] = f"W/{headers['ETag']}"  # equal content in another encoding
            self._plain = header_lines(headers), gzip.decompress(page.body)

    async def respond(self, request: web.Request) -> Response:
        """Return the page, or 304 if the client has it."""
        known = joined_header(request, "If-None-Match")
        if known == "*" or self._tag in _ETAG.findall(known):
            return Response(self._not_modified, status=304)
        lines, body = self._gzip if accepts(request, "Accept-Encoding", ("gzip", "*")) else self._plain
        return Response(lines, body, is_constant=True)
