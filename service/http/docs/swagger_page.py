"""Where the document is, and the page that shows it: Swagger UI, out of this package alone. No token is asked for."""

import json
from importlib.resources import files
from typing import Final

import orjson
from aiohttp import web

from service.http.docs.openapi import api_document
from service.http.docs.static import Page, add_page

DOCUMENT: Final = "/api/0/openapi.json"
PAGE: Final = "/docs"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts and styles are files of ours, and nothing is asked but this service; the style sheet holds its pictures."""

_OWN: Final = files(__package__)
_SWAGGER_UI: Final = _OWN / "swagger_ui"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"

_HTML: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>projectkeys: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{swagger_style}">
<link rel="stylesheet" href="/docs/page.css">
<script src="{swagger_script}" defer></script>
<script src="/docs/start.js" defer></script>
</head>
<body>
<header>For machines: <a href="{document}">the OpenAPI document</a>. \
On Kafka: <a href="/docs/events">the events</a>.</header>
<noscript>This page needs JavaScript; the document does not.</noscript>
<div id="api"></div>
</body>
</html>
"""


def add_api_documents(app: web.Application) -> None:
    """Serve the document, its page, and what that loads."""
    version = json.loads((_SWAGGER_UI / "ORIGIN.json").read_text())["version"]
    script, style = (f"/docs/swagger-ui-{version}.{kind}" for kind in ("js", "css"))
    html = _HTML.format(swagger_script=script, swagger_style=style, document=DOCUMENT)
    policy = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    for page in (
        Page(DOCUMENT, "application/json", orjson.dumps(api_document())),
        Page(PAGE, "text/html; charset=utf-8", html.encode(), policy),
        Page("/docs/start.js", _SCRIPT, (_OWN / "start.js").read_bytes()),
        Page("/docs/page.css", _STYLE, (_OWN / "page.css").read_bytes()),
        Page(script, _SCRIPT, _vendored("swagger-ui-bundle.js"), packed=True, for_ever=True),
        Page(style, _STYLE, _vendored("swagger-ui.css"), packed=True, for_ever=True),
    ):
        add_page(app, page)


def _vendored(name: str) -> bytes:
    return (_SWAGGER_UI / f"{name}.gz").read_bytes()
