"""The handlers of what the console needs beside keys: sessions, tokens, the state of publishing, live events."""

from functools import partial
from typing import Final

from service.domain.errors import NotFoundError
from service.domain.events import time_to_json
from service.domain.tokens import token_to_json
from service.http.console_session import COOKIE
from service.http.dispatcher import NAME, RequestContext
from service.http.errors import RETRY_AFTER, HttpError
from service.http.pagination import link_header, requested_page
from service.http.request import query_parameter
from service.http.server.event_stream import EventStream
from service.http.server.response import Response, empty_response, json_response
from service.usecases.event_feed import MAX_STREAMS

_ATTRIBUTES: Final = "HttpOnly; Secure; SameSite=Strict; Path=/"
_DURATION: Final = 8 * 3600
"""Seconds, as the constraint of the table."""


async def open_session(context: RequestContext) -> Response:
    """``POST /console/session``: 204 with the cookie of a new session; the token is in the body."""
    session_id = await context.use_cases.sessions.open(context.principal, context.origin)
    cookie = f"{COOKIE}={session_id}; {_ATTRIBUTES}; Max-Age={_DURATION}"
    return empty_response(status=204, headers={"Set-Cookie": cookie})


async def get_session(context: RequestContext) -> Response:
    """``GET /console/session``: the token, its organization (null: all), and whether usage is counted."""
    token = await context.use_cases.sessions.token(context.principal)
    value = {
        "token": {
            "id": str(token.id),
            "name": token.name,
            "scopes": token.scopes,
            "expiresAt": token.expires_at and time_to_json(token.expires_at),
        },
        "organization": token.organization_slug,
        "usage": context.use_cases.usage is not None,
    }
    return json_response(value)


async def end_session(context: RequestContext) -> Response:
    """``DELETE /console/session``: 204; the cookie is useless from then on."""
    if not context.principal.is_session:
        raise HttpError(400, "The request has no session; a token ends by `projectkeys token revoke`.")
    await context.use_cases.sessions.end(context.principal, context.origin)
    headers = {"Set-Cookie": f"{COOKIE}=; {_ATTRIBUTES}; Max-Age=0"}
    return empty_response(status=204, headers=headers)


async def get_status(context: RequestContext) -> Response:
    """``GET /console/status``: whether events reach Kafka; the values of the whole installation, at most 2 s old."""
    return json_response(await context.use_cases.publishing_status.get())


async def list_tokens(context: RequestContext) -> Response:
    """``GET …/organizations/{organization}/tokens/``: the tokens of one organization, newest first."""
    page = requested_page(context)
    rows = await context.use_cases.tokens.page(context.organization_name, page)
    link = link_header(context, page, [row.id for row in rows])
    return json_response([token_to_json(row) for row in page.of(rows)], headers={"Link": link})


async def stream_events(context: RequestContext) -> Response:
    """``GET …/organizations/{organization}/events/stream/``: the events of its keys, as they are published.

    ``project`` selects the keys of one project; Last-Event-ID continues an earlier stream.
    """
    use_cases, request = context.use_cases, context.request
    organization = await use_cases.organizations.get(context.organization_name)
    project_id = None
    if name := query_parameter(request, "project"):
        if not NAME.fullmatch(name):
            raise NotFoundError("the name of the project contains invalid characters")
        project_id = (await use_cases.projects.get(str(organization.id), name)).id
    feed = use_cases.event_feed
    if feed.is_full:
        raise HttpError(503, f"This replica has {MAX_STREAMS} open streams of events. Try again later.", RETRY_AFTER)
    batches = feed.stream(organization.id, project_id, request.headers.get("Last-Event-ID", ""))
    return EventStream(batches, partial(use_cases.tokens.is_valid, context.principal))
