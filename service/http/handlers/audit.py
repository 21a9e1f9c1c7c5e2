"""The audit of an organization: what was changed in it, by whom, when and from where."""

from service.domain.audit import ACTIONS, AuditSearch, audit_entry_to_json
from service.domain.model import MAX_BIGINT
from service.http.answers import json_response
from service.http.errors import HttpError
from service.http.pagination import link_header, requested_page
from service.http.request import query_parameter
from service.http.server.response import Response
from service.http.state import RequestContext


async def list_entries(context: RequestContext) -> Response:
    """``GET …/audit-logs/``: the newest first; ``event``, ``actor`` and ``target`` leave out the others.

    Requires ``org:write`` or ``org:admin``.
    """
    page = requested_page(context)
    found = await context.api.audit.of_organization(context.organization_name, _search(context), page)
    return json_response(
        {"rows": [audit_entry_to_json(one) for one in page.of(found)], "options": ACTIONS},
        allow=context.allow,
        headers={"Link": link_header(context, page, [one.id for one in found])},
    )


def _search(context: RequestContext) -> AuditSearch:
    return AuditSearch(
        action=_text(query_parameter(context.request, "event")),
        token_id=_number(query_parameter(context.request, "actor")),
        target=_text(query_parameter(context.request, "target")),
    )


def _text(said: str | None) -> str | None:
    """What an entry must have; "", which none has, for what Postgres cannot hold."""
    if not said:
        return None
    return said if said.isprintable() else ""


def _number(said: str | None) -> int | None:
    if not said:
        return None
    if not (said.isascii() and said.isdigit()):
        raise HttpError(400, {"actor": ["A valid integer is required."]})
    number = int(said[:20])
    if number > MAX_BIGINT:
        raise HttpError(400, {"actor": [f"Ensure this value is less than or equal to {MAX_BIGINT}."]})
    return number
