"""The operations on a project's keys: parse, call one use case, answer."""

from typing import Final

from aiohttp import web

from service.domain.model import NewProjectKey
from service.http.answers import json_answer, wire_key
from service.http.bodies import read_json
from service.http.pagination import first_page_link
from service.http.schemas import NewProjectKeyBody, load
from service.http.state import Call

_PAGE: Final = 10
"""Keys on a page of a list."""

_NEW_KEY: Final = NewProjectKeyBody()


async def create_key(call: Call) -> web.Response:
    """``POST …/keys/``: 201 with the new key, once it is committed."""
    body = await read_json(call.request, timeout=call.api.body_timeout)
    asked: NewProjectKey = load(_NEW_KEY, body)
    issued = await call.api.issue_keys.issue(asked, call.project, call.origin)
    return json_answer(
        wire_key(issued.key, call.project, call.api.ingest),
        status=201,
        allow=call.allow,
        headers={"Event-Id": str(issued.event.id), "Event-Status": "pending"},
    )


async def list_keys(call: Call) -> web.Response:
    """``GET …/keys/``: the newest keys."""
    rows = await call.api.read_keys.newest(call.project, limit=_PAGE + 1)
    return json_answer(
        [wire_key(key, call.project, call.api.ingest) for _, key in rows[:_PAGE]],
        allow=call.allow,
        headers={"Link": first_page_link(call, [number for number, _ in rows], page=_PAGE)},
    )


async def get_key(call: Call) -> web.Response:
    """``GET …/keys/{key_id}/``."""
    key = await call.api.read_keys.get(call.project, call.request.match_info["key_id"])
    return json_answer(wire_key(key, call.project, call.api.ingest), allow=call.allow)
