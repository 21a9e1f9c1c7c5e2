"""Serves the AsyncAPI document, its page without scripts, and the JSON Schemas; none requires a token."""

from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Final

import orjson

from service.contract.asyncapi import asyncapi_document, event_schemas
from service.http.docs.static import Page, add_page
from service.http.server.middleware import Routes
from service.http.server.state import ServerState

DOCUMENT: Final = "/api/0/asyncapi.json"
PAGE: Final = "/docs/events"
SCHEMAS: Final = "/api/0/event-schemas"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page consists of text, style sheets and the icon of this service."""

_PACKAGE: Final = files(__package__)


def add_asyncapi_routes(routes: Routes, state: ServerState, topic: str) -> None:
    """Add the routes of the document, its page, the style sheet and the schemas; ``topic`` is the topic's name."""
    html, policy = asyncapi_page(topic), {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    style = (_PACKAGE / "asyncapi_page.css").read_bytes()
    add_page(routes, state, Page(DOCUMENT, "application/json", orjson.dumps(asyncapi_document(topic))))
    add_page(routes, state, Page(PAGE, "text/html; charset=utf-8", html.encode(), policy))
    add_page(routes, state, Page("/docs/events.css", "text/css; charset=utf-8", style))
    for name, schema in event_schemas().items():
        path, content = f"{SCHEMAS}/{name}.json", orjson.dumps(schema)
        add_page(routes, state, Page(path, "application/schema+json", content))


def asyncapi_page(topic: str) -> str:
    """Return the HTML page of the document, which `python -m tests.asyncapi_page` generates."""
    page = Template((_PACKAGE / "asyncapi_page.html").read_text("utf-8"))
    return page.substitute(topic=escape(topic), version=escape(version("projectkeys")))
