"""Making, showing, changing and deleting organizations and projects."""

from typing import Final

from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG, slug_of
from service.http.answers import empty_response, json_response, organization_to_json, project_to_json
from service.http.errors import NO_PERMISSION, HttpError
from service.http.pagination import link_header, requested_page
from service.http.request import read_body
from service.http.schemas import (
    NewOrganizationBody,
    NewProjectBody,
    OrganizationChangeBody,
    ProjectChangeBody,
    load,
)
from service.http.server.response import Response
from service.http.state import RequestContext
from service.http.write_headers import idempotency_key

_NEW_ORGANIZATION: Final = NewOrganizationBody()
_ORGANIZATION_CHANGE: Final = OrganizationChangeBody()
_NEW_PROJECT: Final = NewProjectBody()
_PROJECT_CHANGE: Final = ProjectChangeBody()


async def health(context: RequestContext) -> Response:
    """``GET /api/0/internal/health/``: 200 for every token; clients try theirs here."""
    return json_response({"problems": [], "healthy": {}}, allow=context.allow)


async def create_organization(context: RequestContext) -> Response:
    """``POST /api/0/organizations/``: for tokens of all organizations."""
    if context.caller.organization_id is not None:
        raise HttpError(403, NO_PERMISSION)
    body = await read_body(context.request, timeout=context.api.body_timeout)
    asked = load(_NEW_ORGANIZATION, body)
    organization, replayed = await context.api.organizations.create(
        slug=_slug(asked.slug, asked.name, ORGANIZATION_SLUG),
        name=asked.name,
        origin=context.origin,
        ingest_url=asked.ingest_url,
        idempotency_key=idempotency_key(context, body),
    )
    return json_response(
        organization_to_json(organization), status=201, allow=context.allow, headers=_replayed(replayed)
    )


async def get_organization(context: RequestContext) -> Response:
    """``GET /api/0/organizations/{organization}/``."""
    organization = await context.api.organizations.get(context.organization_name)
    return json_response(organization_to_json(organization), allow=context.allow)


async def update_organization(context: RequestContext) -> Response:
    """``PUT /api/0/organizations/{organization}/``: another ingest URL gives all its keys new versions."""
    organization = await context.api.organizations.get(context.organization_name)
    body = await read_body(context.request, timeout=context.api.body_timeout)
    change = load(_ORGANIZATION_CHANGE, body)
    changed = await context.api.organizations.update(organization, change, context.origin)
    return json_response(organization_to_json(changed), allow=context.allow)


async def list_projects(context: RequestContext) -> Response:
    """``GET /api/0/organizations/{organization}/projects/``: the newest first."""
    organization = await context.api.organizations.get(context.organization_name)
    page = requested_page(context)
    found = await context.api.projects.page(organization, page)
    return json_response(
        [project_to_json(project) for project in page.of(found)],
        allow=context.allow,
        headers={"Link": link_header(context, page, [project.id for project in found])},
    )


async def create_project(context: RequestContext) -> Response:
    """``POST /api/0/organizations/{organization}/projects/``: with a first key unless told otherwise."""
    organization = await context.api.organizations.get(context.organization_name)
    body = await read_body(context.request, timeout=context.api.body_timeout)
    asked = load(_NEW_PROJECT, body)
    project, replayed = await context.api.projects.create(
        organization,
        slug=_slug(asked.slug, asked.name, PROJECT_SLUG),
        name=asked.name,
        default_key=asked.default_key,
        origin=context.origin,
        idempotency_key=idempotency_key(context, body),
    )
    return json_response(
        project_to_json(project), status=201, allow=context.allow, headers=_replayed(replayed)
    )


async def get_project(context: RequestContext) -> Response:
    """``GET /api/0/projects/{organization}/{project}/``."""
    return json_response(project_to_json(context.project), allow=context.allow)


async def update_project(context: RequestContext) -> Response:
    """``PUT /api/0/projects/{organization}/{project}/``: its former slug leads to it from then on."""
    body = await read_body(context.request, timeout=context.api.body_timeout)
    change = load(_PROJECT_CHANGE, body)
    changed = await context.api.projects.update(context.project, change, context.origin)
    return json_response(project_to_json(changed), allow=context.allow)


async def delete_project(context: RequestContext) -> Response:
    """``DELETE /api/0/projects/{organization}/{project}/``: its keys go with it, each with its event."""
    await context.api.projects.delete(context.project, context.origin)
    return empty_response(status=204, allow=context.allow)


def _replayed(replayed: bool) -> dict[str, str]:  # noqa: FBT001 -- its one argument
    return {"Idempotent-Replayed": "true"} if replayed else {}


def _slug(asked: str | None, name: str, pattern: str) -> str:
    slug = asked or slug_of(name, pattern)
    if slug is None:
        raise HttpError(400, {"slug": ['No slug can be derived from the name; set "slug".']})
    return slug
