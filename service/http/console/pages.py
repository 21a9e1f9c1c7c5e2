"""Serves the console: one page for all its addresses, and the files that the page loads; none requires a token."""

import gzip
from importlib.resources import files
from typing import Final

from aiohttp import web

from service.http.docs.static import Page, add_page
from service.http.server.middleware import Middleware, Routes
from service.http.server.response import Response, empty_response
from service.http.server.state import ServerState

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The page loads files of this service only, and no script can turn text into HTML or code."""

_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "clipboard-write=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
}
SCREENS: Final = (
    "/console/",
    "/console/o/{organization}",
    "/console/o/{organization}/audit",
    "/console/o/{organization}/tokens",
    "/console/o/{organization}/p/{project}",
    "/console/o/{organization}/p/{project}/k/{key_id}",
)
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PACKAGE: Final = files(__package__)


def add_console_routes(routes: Routes, state: ServerState) -> None:
    """Add the routes of the page and of its files, if there is a console; ``/`` redirects to it, or to the docs."""
    start = "/docs"
    if state.console_origin is not None:
        start = "/console/"
        _add_redirect(routes, state, "/console", start)
        html = (_PACKAGE / "index.html").read_text("utf-8").replace("{prefix}", state.path_prefix)
        for path in SCREENS:
            add_page(routes, state, Page(path, "text/html; charset=utf-8", html.encode(), _HEADERS))
        for directory in ("", "views/", "vendor/"):
            for file in (_PACKAGE / directory).iterdir():
                content_type = _TYPES.get(f".{file.name.rpartition('.')[2]}")
                if content_type is not None:
                    body = gzip.compress(file.read_bytes(), mtime=0)
                    path = f"/console/{directory}{file.name}"
                    add_page(routes, state, Page(path, content_type, body, is_compressed=True))
    _add_redirect(routes, state, "/", start)


def _add_redirect(routes: Routes, state: ServerState, path: str, target: str) -> None:
    async def redirect(_request: web.Request) -> Response:
        return empty_response(status=302, headers={"Location": f"{state.path_prefix}{target}"})

    routes.add(path, Middleware(state, path, redirect))
