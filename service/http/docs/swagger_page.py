"""Serves the OpenAPI document and its page, the copy of Swagger UI in this package; neither requires a token."""

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

import orjson

from service.http.docs.static import Page, add_page
from service.http.server.middleware import Routes
from service.http.server.state import ServerState

DOCUMENT: Final = "/api/0/openapi.json"
PAGE: Final = "/docs"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads files of this service only; images are data URLs in its style sheet."""

_PACKAGE: Final = files(__package__)
_SWAGGER_UI: Final = _PACKAGE / "swagger_ui"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"

# All links are relative, so that the page also works behind a proxy that adds a prefix to the paths.
_HTML: Final = (_PACKAGE / "swagger_page.html").read_text("utf-8")


def openapi_document(path_prefix: str = "") -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, `openapi.json`, with the version of the service and its URL.

    ``path_prefix`` is that of `ServerState`.
    """
    document: dict[str, Any] = json.loads((_PACKAGE / "openapi.json").read_text("utf-8"))
    document["info"]["version"] = version("projectkeys")
    document["servers"] = [{"url": path_prefix or "/"}]
    return document


def add_openapi_routes(routes: Routes, state: ServerState) -> None:
    """Add the routes of the document, its page and the files that the page loads."""
    release = json.loads((_SWAGGER_UI / "ORIGIN.json").read_text())["version"]
    script, style = (f"docs/swagger-ui-{release}.{kind}" for kind in ("js", "css"))
    html = _HTML.format(swagger_script=script, swagger_style=style)
    policy = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    for page in (
        Page(DOCUMENT, "application/json", orjson.dumps(openapi_document(state.path_prefix))),
        Page(PAGE, "text/html; charset=utf-8", html.encode(), policy),
        Page("/docs/start.js", _SCRIPT, (_PACKAGE / "start.js").read_bytes()),
        Page("/docs/page.css", _STYLE, (_PACKAGE / "page.css").read_bytes()),
        Page("/docs/header.css", _STYLE, (_PACKAGE / "header.css").read_bytes()),
        Page("/docs/icon.svg", "image/svg+xml", (_PACKAGE / "icon.svg").read_bytes()),
        Page(f"/{script}", _SCRIPT, _vendored("swagger-ui-bundle.js"), is_compressed=True, is_immutable=True),
        Page(f"/{style}", _STYLE, _vendored("swagger-ui.css"), is_compressed=True, is_immutable=True),
    ):
        add_page(routes, state, page)


def _vendored(name: str) -> bytes:
    return (_SWAGGER_UI / f"{name}.gz").read_bytes()
