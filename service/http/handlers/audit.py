"""The handler of the audit log of an organization."""

from typing import Final

from service.domain.audit import ACTIONS, AuditSearch, audit_entry_to_json
from service.domain.model import MAX_BIGINT
from service.http.dispatcher import RequestContext
from service.http.errors import HttpError
from service.http.pagination import link_header, requested_page
from service.http.request import query_parameter
from service.http.server.response import Response, json_response

_UNSUPPORTED: Final = ("start", "end", "statsPeriod")
"""Parameters of Sentry's API: if they were ignored, the client would take all entries for those of the period."""


async def list_entries(context: RequestContext) -> Response:
    """``GET …/audit-logs/``: newest first; ``event``, ``actor`` and ``target`` are filters.

    Requires ``org:write`` or ``org:admin``.
    """
    page = requested_page(context)
    entries = await context.use_cases.audit.of_organization(context.organization_name, _search(context), page)
    return json_response(
        {"rows": [audit_entry_to_json(entry) for entry in page.of(entries)], "options": ACTIONS},
        headers={"Link": link_header(context, page, [entry.id for entry in entries])},
    )


def _search(context: RequestContext) -> AuditSearch:
    for name in _UNSUPPORTED:
        if query_parameter(context.request, name):
            raise HttpError(400, {name: ["The audit log cannot be filtered by time."]})
    return AuditSearch(
        action=_text(query_parameter(context.request, "event")),
        token_id=_number(query_parameter(context.request, "actor")),
        target=_text(query_parameter(context.request, "target")),
    )


def _text(value: str | None) -> str | None:
    """Return the value to filter by; for a text that Postgres cannot store, "", which no entry contains."""
    if not value:
        return None
    return value if value.isprintable() else ""


def _number(value: str | None) -> int | None:
    if not value:
        return None
    if not (value.isascii() and value.isdigit()):
        raise HttpError(400, {"actor": ["A valid integer is required."]})
    number = int(value[:20])
    if number > MAX_BIGINT:
        raise HttpError(400, {"actor": [f"Ensure this value is less than or equal to {MAX_BIGINT}."]})
    return number
