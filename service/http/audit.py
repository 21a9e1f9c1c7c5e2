"""The audit of an organization: what was changed in it, by whom, when and from where."""

import re
from typing import Any, Final
from urllib.parse import quote, urlencode

from aiohttp import web

from service.domain.audit import ACTIONS, AuditEntry, AuditPage, AuditSearch
from service.domain.events import wire_time
from service.http.answers import json_answer
from service.http.refusals import Refusal
from service.http.state import Call

_PER_PAGE: Final = 10
_MOST_PER_PAGE: Final = 100
_CURSOR: Final = re.compile(r"([0-9]{1,18}):([0-9]{1,3}):([01])")
_GREATEST_ACTOR: Final = 2**63 - 1


async def list_entries(call: Call) -> web.Response:
    """``GET …/audit-logs/``: the newest first; ``event``, ``actor`` and ``target`` leave out the others."""
    size = _per_page(call.request.query.get("per_page"))
    page = _page(call.request.query.get("cursor", ""), size)
    found = await call.api.audit.of_organization(call.organization_name, _search(call), page)
    rows = found[-size:] if page.newer else found[:size]
    return json_answer(
        {"rows": [wire_entry(one) for one in rows], "options": ACTIONS},
        allow=call.allow,
        headers={"Link": _link(call, found, page, size)},
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
    query = call.request.query
    return AuditSearch(
        action=_text(query.get("event")),
        token_id=_number(query.get("actor")),
        target=_text(query.get("target")),
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


# What follows is the form of cursors that every list of the API has.


def _per_page(said: str | None) -> int:
    if not said:
        return _PER_PAGE
    if not re.fullmatch(r"-?[0-9]{1,9}", said):
        raise Refusal(400, "Invalid per_page parameter.")
    if not 1 <= int(said) <= _MOST_PER_PAGE:
        raise Refusal(400, f"Invalid per_page value. Must be between 1 and {_MOST_PER_PAGE}.")
    return int(said)


def _page(cursor: str, size: int) -> AuditPage:
    """The page that a cursor names, and one entry more, which tells whether there is another page."""
    if not cursor:
        return AuditPage(limit=size + 1)
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Refusal(400, "Invalid cursor parameter.")
    return AuditPage(limit=size + 1, start=int(found[1]), skip=int(found[2]), newer=found[3] == "1")


def _link(call: Call, found: list[AuditEntry], page: AuditPage, size: int) -> str:
    """The pages before and after the one that was ``found``, of which one entry more was asked for."""
    more = len(found) > size
    if page.newer:
        newer, older, following = more, True, f"{page.start}:0:0"
        first = found[-size:][:1]
    else:
        newer, older, following = page.start is not None, more, _following(found, size)
        first = found[:1]
    previous = f"{first[0].id if first else 0}:0:1"
    return ", ".join(
        (
            _relation(call, "previous", previous, results=newer),
            _relation(call, "next", following, results=older),
        )
    )


def _following(found: list[AuditEntry], size: int) -> str:
    if len(found) > size:
        return f"{found[size].id}:0:0"
    return f"{found[-1].id}:1:0" if found else "0:0:0"


def _relation(call: Call, name: str, cursor: str, *, results: bool) -> str:
    request = call.request
    others = urlencode([(key, value) for key, value in request.query.items() if key != "cursor"])
    url = f"{call.api.links_base}{quote(request.path)}?{others}&cursor={cursor}"
    return f'<{url}>; rel="{name}"; results="{str(results).lower()}"; cursor="{cursor}"'
