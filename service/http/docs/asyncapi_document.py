"""The events' documents: AsyncAPI for machines, a page made of it for people. No token is asked for."""

from importlib.metadata import version
from importlib.resources import files
from typing import Final

import orjson
from aiohttp import web

from service.contract.asyncapi import asyncapi_document
from service.http.docs.asyncapi_page import event_page
from service.http.docs.static import Page, add_page
from service.http.state import API

DOCUMENT: Final = "/api/0/asyncapi.json"
PAGE: Final = "/docs/events"
_STYLE: Final = "/docs/events.css"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page is text and one style sheet: nothing runs, nothing is loaded from elsewhere, nothing is sent."""


def add_event_documents(app: web.Application) -> None:
    """Serve the document and its page; both are made now, once."""
    document = asyncapi_document(app[API].topic, version=version("projectkeys"))
    html = event_page(document, document_path=DOCUMENT, style_path=_STYLE)
    style = (files(__package__) / "event_page.css").read_bytes()
    policy = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    add_page(app, Page(DOCUMENT, "application/json", orjson.dumps(document)))
    add_page(app, Page(PAGE, "text/html; charset=utf-8", html.encode(), policy))
    add_page(app, Page(_STYLE, "text/css; charset=utf-8", style))
