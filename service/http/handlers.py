"""The operations on a project's keys: parse, call one use case, answer."""

from typing import Final

from aiohttp import web

from service.domain.model import NewProjectKey, ProjectKeyChange
from service.http.answers import empty_answer, json_answer, wire_key
from service.http.bodies import read_json
from service.http.pagination import first_page_link
from service.http.schemas import NewProjectKeyBody, ProjectKeyChangeBody, load
from service.http.state import Call
from service.http.writes import event_headers, idempotency_key

_PAGE: Final = 10
"""Keys on a page of a list."""

_NEW_KEY: Final = NewProjectKeyBody()
_KEY_CHANGE: Final = ProjectKeyChangeBody()


async def create_key(call: Call) -> web.Response:
    """``POST …/keys/``: 201 with the new key, once it is committed."""
    body = await read_json(call.request, timeout=call.api.body_timeout)
    asked: NewProjectKey = load(_NEW_KEY, body)
    once = idempotency_key(call, body)
    made = await call.api.issue_keys.issue(asked, call.project, call.origin, once)
    return json_answer(
        wire_key(made.key, call.project, call.api.ingest),
        status=201,
        allow=call.allow,
        headers=await event_headers(call, made.event_id, made.key.public_key, replayed=made.replayed),
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
    key = await call.api.read_keys.get(call.project, call.key_id)
    return json_answer(wire_key(key, call.project, call.api.ingest), allow=call.allow)


async def update_key(call: Call) -> web.Response:
    """``PUT …/keys/{key_id}/``: 200 with the key as it is then, once that is committed."""
    await call.api.read_keys.get(
        call.project, call.key_id
    )  # a key that is not there is told before its body is read
    body = await read_json(call.request, timeout=call.api.body_timeout)
    change: ProjectKeyChange = load(_KEY_CHANGE, body)
    changed = await call.api.change_keys.update(call.project, call.key_id, change, call.origin)
    return json_answer(
        wire_key(changed.key, call.project, call.api.ingest),
        allow=call.allow,
        headers=await event_headers(call, changed.event_id, call.key_id),
    )


async def delete_key(call: Call) -> web.Response:
    """``DELETE …/keys/{key_id}/``: 204, once it is committed."""
    event_id = await call.api.change_keys.delete(call.project, call.key_id, call.origin)
    return empty_answer(
        status=204, allow=call.allow, headers=await event_headers(call, event_id, call.key_id)
    )
