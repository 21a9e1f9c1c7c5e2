"""The handlers of keys."""

from collections.abc import Mapping, Sequence
from typing import Final

from service.domain.pagination import Page
from service.http.dispatcher import RequestContext
from service.http.errors import HttpError
from service.http.pagination import link_header, requested_page
from service.http.request import query_parameter, read_body
from service.http.schemas import (
    NamedKeyBody,
    NewProjectKeyBody,
    ProjectKeyChangeBody,
    RotationBody,
    key_name,
    load,
)
from service.http.serializers import without_secrets
from service.http.server.response import Response, bytes_response
from service.http.written_response import written_response

_STATUSES: Final[Mapping[str, bool | None]] = {"": None, "active": True, "inactive": False}
"""By value of the query parameter ``status``: whether the listed keys are active; None lists all keys."""

_MAX_QUERY: Final = 64
"""Characters: the longest name of a key."""

_NEW_KEY: Final = NewProjectKeyBody()
_KEY_CHANGE: Final = ProjectKeyChangeBody()
_NAMED_KEY: Final = NamedKeyBody()
_ROTATION: Final = RotationBody()


async def create_key(context: RequestContext) -> Response:
    """``POST …/keys/``: 201 with the new key, after the commit."""
    body = await read_body(context.request)
    new_key = load(_NEW_KEY, body)
    created = await context.use_cases.create_key.execute(
        new_key, context.project, context.origin, context.idempotency_key(body)
    )
    return await written_response(context, created, status=201)


async def list_keys(context: RequestContext) -> Response:
    """``GET …/keys/``: newest first; ``query`` searches, ``status`` selects; an unknown status selects none."""
    project, page, status = context.project, requested_page(context), _status(context)
    if status not in _STATUSES:
        return _page_response(context, page, b"[]", [])
    active, query = _STATUSES[status], query_parameter(context.request, "query")
    if query:
        return await _search(context, page, query, active=active)
    rows = await context.use_cases.read_keys.page(project, page, active=active)
    return _page_response(context, page, context.key_serializer.serialize_page(rows, page, project), rows.ids)


async def _search(context: RequestContext, page: Page, query: str, *, active: bool | None) -> Response:
    """Return the page of the keys that ``query`` selects: a public key, or a part of the name in whatever case."""
    if len(query) > _MAX_QUERY:
        raise HttpError(400, {"query": [f"Ensure this field has no more than {_MAX_QUERY} characters."]})
    if not query.isprintable():  # no name contains it
        return _page_response(context, page, b"[]", [])
    project = context.project
    rows, last_read = await context.use_cases.read_keys.search(project, page, query, active=active)
    text = context.key_serializer.serialize_all([(key, project) for key in page.of(rows.keys)])
    return _page_response(context, page, text, rows.ids, last_read=last_read)


async def list_organization_keys(context: RequestContext) -> Response:
    """``GET …/organizations/{organization}/project-keys/``: the keys of all projects; see `list_keys`."""
    organization = await context.use_cases.organizations.get(context.organization_name)
    if query_parameter(context.request, "team"):
        raise HttpError(404, "Team not found")  # there are no teams
    page, status = requested_page(context), _status(context)
    if status not in _STATUSES:
        return _page_response(context, page, b"[]", [])
    rows = await context.use_cases.read_keys.page_of_organization(organization, page, active=_STATUSES[status])
    text = context.key_serializer.serialize_all([(key, project) for _, key, project in page.of(rows)])
    return _page_response(context, page, text, [row_id for row_id, _, _ in rows])


def _status(context: RequestContext) -> str:
    return query_parameter(context.request, "status") or ""


def _page_response(
    context: RequestContext, page: Page, text: bytes, row_ids: Sequence[int], *, last_read: int | None = None
) -> Response:
    headers = {"Link": link_header(context, page, row_ids, last_read=last_read)}
    body = without_secrets(text) if context.principal.is_session else text
    return bytes_response(body, headers=headers)


async def get_key(context: RequestContext) -> Response:
    """``GET …/keys/{key_id}/``."""
    key = await context.use_cases.read_keys.get(context.project, context.key_id)
    return bytes_response(context.key_serializer.serialize(key, context.project))


async def update_key(context: RequestContext) -> Response:
    """``PUT …/keys/{key_id}/``: 200 with the changed key, after the commit."""
    project, key_id = context.project, context.key_id
    # 404 takes precedence over errors of the body.
    key = await context.use_cases.read_keys.get(project, key_id)
    body = await read_body(context.request)
    change = load(_KEY_CHANGE, body)
    updated = await context.use_cases.change_keys.update(project, key_id, change, context.origin, key=key)
    return await written_response(context, updated)


async def delete_key(context: RequestContext) -> Response:
    """``DELETE …/keys/{key_id}/``: 204, after the commit."""
    deleted = await context.use_cases.change_keys.delete(context.project, context.key_id, context.origin)
    return await written_response(context, deleted, status=204)


async def rotate_key(context: RequestContext) -> Response:
    """``POST …/keys/{key_id}/rotate/``: 201 with the new key, after the commit of both keys."""
    project, key_id = context.project, context.key_id
    await context.use_cases.read_keys.get(project, key_id)  # 404 takes precedence over errors of the body
    body = await read_body(context.request)
    rotated = await context.use_cases.rotate_key.execute(
        project, key_id, load(_ROTATION, body), context.origin, context.idempotency_key(body)
    )
    return await written_response(context, rotated, status=201)


async def get_or_create_key(context: RequestContext) -> Response:
    """``PUT …/keys/by-name/{key_name}/``: 200 with the active key of this name, or 201 with a new one."""
    name, project = key_name(context.key_name), context.project
    new_key = load(_NAMED_KEY, await read_body(context.request))
    found = await context.use_cases.create_key.get_or_create(name, new_key, project, context.origin)
    return await written_response(context, found, status=200 if found.event_id is None else 201)
