"""The audit of an organization: what was changed in it, by whom, when and from where."""

from typing import Any, Final

from service.domain.audit import ACTIONS, AuditEntry, AuditSearch
from service.domain.events import wire_time
from service.http.answer import Answer
from service.http.answers import json_answer
from service.http.pagination import asked_page, link
from service.http.queries import last
from service.http.refusals import Refusal
from service.http.state import Call

_GREATEST_ACTOR: Final = 2**63 - 1


async def list_entries(call: Call) -> Answer:
    """``GET …/audit-logs/``: the newest first; ``event``, ``actor`` and ``target`` leave out the others."""
    page = asked_page(call)
    found = await call.api.audit.of_organization(call.organization_name, _search(call), page)
    return json_answer(
        {"rows": [wire_entry(one) for one in page.of(found)], "options": ACTIONS},
        allow=call.allow,
        headers={"Link": link(call, page, [one.id for one in found])},
    )


def wire_entry(entry: AuditEntry) -> dict[str, Any]:
    """An entry as clients read it."""
    return {
        "id": str(entry.id),
        "event": entry.action,
        "actor": _actor(entry),
        "dateCreated": wire_time(entry.created_at),
        "ipAddress": entry.remote_address,
        "target": entry.target,
        "projectId": entry.project_id,
        "data": entry.data,
        "requestId": entry.request_id,
        "changeId": str(entry.change_id),
    }


def _actor(entry: AuditEntry) -> dict[str, str | None]:
    if entry.token_id is None:
        return {"id": None, "name": "command line"}
    return {"id": str(entry.token_id), "name": entry.token_name}


def _search(call: Call) -> AuditSearch:
    return AuditSearch(
        action=_text(last(call.request, "event")),
        token_id=_number(last(call.request, "actor")),
        target=_text(last(call.request, "target")),
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
        raise Refusal(400, {"actor": ["A valid integer is required."]})
    number = int(said[:20])
    if number > _GREATEST_ACTOR:
        raise Refusal(400, {"actor": [f"Ensure this value is less than or equal to {_GREATEST_ACTOR}."]})
    return number
