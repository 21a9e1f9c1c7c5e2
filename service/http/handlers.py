"""The operations on a project's keys: parse, call one use case, answer."""

from collections.abc import Mapping, Sequence
from typing import Final

from service.domain.model import NewProjectKey, ProjectKeyChange
from service.domain.pages import Page
from service.http.answer import Answer
from service.http.answers import empty_answer, text_answer
from service.http.bodies import read_body
from service.http.pagination import asked_page, link
from service.http.queries import last
from service.http.refusals import Refusal
from service.http.schemas import NewProjectKeyBody, ProjectKeyChangeBody, load
from service.http.state import Call
from service.http.writes import event_headers, idempotency_key

_STATUSES: Final[Mapping[str, bool | None]] = {"": None, "active": True, "inactive": False}
"""By the word for it in a query: whether the keys of a list are active; None is all of them."""

_NEW_KEY: Final = NewProjectKeyBody()
_KEY_CHANGE: Final = ProjectKeyChangeBody()


async def create_key(call: Call) -> Answer:
    """``POST …/keys/``: 201 with the new key, once it is committed."""
    body = await read_body(call.request, timeout=call.api.body_timeout)
    asked: NewProjectKey = load(_NEW_KEY, body)
    once = idempotency_key(call, body)
    made = await call.api.issue_keys.issue(asked, call.project, call.origin, once)
    return text_answer(
        call.api.key_texts.new(made.key, call.project),
        status=201,
        allow=call.allow,
        headers=await event_headers(call, made.event_id, made.key.public_key, replayed=made.replayed),
    )


async def list_keys(call: Call) -> Answer:
    """``GET …/keys/``: the newest first; ``status`` leaves out the others, and all of them if it is no status."""
    project, page, status = call.project, asked_page(call), _status(call)
    if status not in _STATUSES:
        return _listed(call, page, b"[]", [])
    rows = await call.api.read_keys.page(project, page, active=_STATUSES[status])
    return _listed(call, page, call.api.key_texts.page(rows, page, project), rows.ids)


async def list_organization_keys(call: Call) -> Answer:
    """``GET /api/0/organizations/{organization}/project-keys/``: the keys of all its projects, as `list_keys`."""
    organization = await call.api.organizations.get(call.organization_name)
    if last(call.request, "team"):
        raise Refusal(404, "Team not found")  # there are no teams, so nobody can name one
    page, status = asked_page(call), _status(call)
    if status not in _STATUSES:
        return _listed(call, page, b"[]", [])
    rows = await call.api.read_keys.page_of_organization(organization, page, active=_STATUSES[status])
    text = call.api.key_texts.page_of_many([(key, project) for _, key, project in page.of(rows)])
    return _listed(call, page, text, [number for number, _, _ in rows])


def _status(call: Call) -> str:
    return last(call.request, "status") or ""


def _listed(call: Call, page: Page, text: bytes, found: Sequence[int]) -> Answer:
    return text_answer(text, allow=call.allow, headers={"Link": link(call, page, found)})


async def get_key(call: Call) -> Answer:
    """``GET …/keys/{key_id}/``."""
    key = await call.api.read_keys.get(call.project, call.key_id)
    return text_answer(call.api.key_texts.one(key, call.project), allow=call.allow)


async def update_key(call: Call) -> Answer:
    """``PUT …/keys/{key_id}/``: 200 with the key as it is then, once that is committed."""
    await call.api.read_keys.get(
        call.project, call.key_id
    )  # a key that is not there is told before its body is read
    body = await read_body(call.request, timeout=call.api.body_timeout)
    change: ProjectKeyChange = load(_KEY_CHANGE, body)
    changed = await call.api.change_keys.update(call.project, call.key_id, change, call.origin)
    return text_answer(
        call.api.key_texts.new(changed.key, call.project),
        allow=call.allow,
        headers=await event_headers(call, changed.event_id, call.key_id),
    )


async def delete_key(call: Call) -> Answer:
    """``DELETE …/keys/{key_id}/``: 204, once it is committed."""
    event_id = await call.api.change_keys.delete(call.project, call.key_id, call.origin)
    return empty_answer(
        status=204, allow=call.allow, headers=await event_headers(call, event_id, call.key_id)
    )
