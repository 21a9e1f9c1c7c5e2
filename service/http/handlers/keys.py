"""The operations on a project's keys: parse, call one use case, answer."""

from collections.abc import Mapping, Sequence
from typing import Final

from service.domain.pagination import Page
from service.http.answers import bytes_response, empty_response
from service.http.errors import HttpError
from service.http.pagination import link_header, requested_page
from service.http.request import query_parameter, read_body
from service.http.schemas import NewProjectKeyBody, ProjectKeyChangeBody, load
from service.http.server.response import Response
from service.http.state import RequestContext
from service.http.write_headers import event_headers, idempotency_key

_STATUSES: Final[Mapping[str, bool | None]] = {"": None, "active": True, "inactive": False}
"""By the word for it in a query: whether the keys of a list are active; None is all of them."""

_NEW_KEY: Final = NewProjectKeyBody()
_KEY_CHANGE: Final = ProjectKeyChangeBody()


async def create_key(context: RequestContext) -> Response:
    """``POST …/keys/``: 201 with the new key, once it is committed."""
    body = await read_body(context.request, timeout=context.api.body_timeout)
    new_key = load(_NEW_KEY, body)
    created = await context.api.create_key.execute(
        new_key, context.project, context.origin, idempotency_key(context, body)
    )
    return bytes_response(
        context.api.key_serializer.serialize_written(created.key, context.project),
        status=201,
        allow=context.allow,
        headers=await event_headers(
            context, created.event_id, created.key.public_key, replayed=created.replayed
        ),
    )


async def list_keys(context: RequestContext) -> Response:
    """``GET …/keys/``: the newest first; ``status`` leaves out the others, and all of them if it is no status."""
    project, page, status = context.project, requested_page(context), _status(context)
    if status not in _STATUSES:
        return _listed(context, page, b"[]", [])
    rows = await context.api.read_keys.page(project, page, active=_STATUSES[status])
    return _listed(context, page, context.api.key_serializer.serialize_page(rows, page, project), rows.ids)


async def list_organization_keys(context: RequestContext) -> Response:
    """``GET /api/0/organizations/{organization}/project-keys/``: the keys of all its projects, as `list_keys`."""
    organization = await context.api.organizations.get(context.organization_name)
    if query_parameter(context.request, "team"):
        raise HttpError(404, "Team not found")  # there are no teams, so nobody can name one
    page, status = requested_page(context), _status(context)
    if status not in _STATUSES:
        return _listed(context, page, b"[]", [])
    rows = await context.api.read_keys.page_of_organization(organization, page, active=_STATUSES[status])
    text = context.api.key_serializer.serialize_all([(key, project) for _, key, project in page.of(rows)])
    return _listed(context, page, text, [number for number, _, _ in rows])


def _status(context: RequestContext) -> str:
    return query_parameter(context.request, "status") or ""


def _listed(context: RequestContext, page: Page, text: bytes, found: Sequence[int]) -> Response:
    return bytes_response(text, allow=context.allow, headers={"Link": link_header(context, page, found)})


async def get_key(context: RequestContext) -> Response:
    """``GET …/keys/{key_id}/``."""
    key = await context.api.read_keys.get(context.project, context.key_id)
    return bytes_response(context.api.key_serializer.serialize(key, context.project), allow=context.allow)


async def update_key(context: RequestContext) -> Response:
    """``PUT …/keys/{key_id}/``: 200 with the key as it is then, once that is committed."""
    await context.api.read_keys.get(
        context.project, context.key_id
    )  # a key that is not there is told before its body is read
    body = await read_body(context.request, timeout=context.api.body_timeout)
    change = load(_KEY_CHANGE, body)
    updated = await context.api.update_key.execute(context.project, context.key_id, change, context.origin)
    return bytes_response(
        context.api.key_serializer.serialize_written(updated.key, context.project),
        allow=context.allow,
        headers=await event_headers(context, updated.event_id, context.key_id),
    )


async def delete_key(context: RequestContext) -> Response:
    """``DELETE …/keys/{key_id}/``: 204, once it is committed."""
    event_id = await context.api.delete_key.execute(context.project, context.key_id, context.origin)
    return empty_response(
        status=204, allow=context.allow, headers=await event_headers(context, event_id, context.key_id)
    )
