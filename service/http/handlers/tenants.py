"""The handlers of organizations and projects."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from service.domain.errors import NotFoundError
from service.domain.model import Project
from service.http.dispatcher import RequestContext
from service.http.errors import NO_PERMISSION, HttpError
from service.http.pagination import OffsetPage, offset_link_header, requested_offset_page
from service.http.project_query import project_search
from service.http.request import query_parameter, read_body
from service.http.schemas import (
    NewOrganizationBody,
    NewProjectBody,
    OrganizationChangeBody,
    ProjectChangeBody,
    load,
)
from service.http.serializers import organization_to_json, project_to_json, team_to_json
from service.http.server.response import Response, bytes_response, empty_response, json_response
from service.http.written_response import REPLAYED
from service.json_text import dump_json

_YES: Final = frozenset({"1", "true"})

_NEW_ORGANIZATION: Final = NewOrganizationBody()
_ORGANIZATION_CHANGE: Final = OrganizationChangeBody()
_NEW_PROJECT: Final = NewProjectBody()
_PROJECT_CHANGE: Final = ProjectChangeBody()


async def health(_context: RequestContext) -> Response:
    """``GET /api/0/internal/health/``: 200 for every valid token; clients use it to check their token."""
    return json_response({"problems": [], "healthy": {}})


async def list_regions(_context: RequestContext) -> Response:
    """``GET /api/0/users/me/regions/``: none; Sentry's command line logs in with it, then uses the same host."""
    return json_response({"regions": []})


async def create_organization(context: RequestContext) -> Response:
    """``POST /api/0/organizations/``: 201; requires a token that is not bound to an organization."""
    if context.principal.organization_id is not None:
        raise HttpError(403, NO_PERMISSION)
    body = await read_body(context.request)
    organization, replayed = await context.use_cases.organizations.create(
        load(_NEW_ORGANIZATION, body), context.origin, context.idempotency_key(body)
    )
    headers = REPLAYED if replayed else {}
    return json_response(organization_to_json(organization), status=201, headers=headers)


async def list_organizations(context: RequestContext) -> Response:
    """``GET /api/0/organizations/``: the organization of the token, or all in the order of slugs."""
    page, principal = requested_offset_page(context), context.principal
    found = await context.use_cases.organizations.find(principal.organization_id, skip=page.skip, limit=page.size + 1)
    link = offset_link_header(context, page, has_next=len(found) > page.size)
    values = [organization_to_json(organization) for organization in found[: page.size]]
    return json_response(values, headers={"Link": link})


async def get_organization(context: RequestContext) -> Response:
    """``GET /api/0/organizations/{organization}/``."""
    organization = await context.use_cases.organizations.get(context.organization_name)
    return json_response(organization_to_json(organization))


async def update_organization(context: RequestContext) -> Response:
    """``PUT /api/0/organizations/{organization}/``: a new ingest URL creates a new version of each key."""
    organization = await context.use_cases.organizations.get(context.organization_name)
    body = await read_body(context.request)
    change = load(_ORGANIZATION_CHANGE, body)
    changed = await context.use_cases.organizations.update(organization, change, context.origin)
    return json_response(organization_to_json(changed))


async def list_projects(context: RequestContext) -> Response:
    """``GET /api/0/organizations/{organization}/projects/``: those that ``query`` selects, in the order of slugs."""
    organization = await context.use_cases.organizations.get(context.organization_name)
    if query_parameter(context.request, "all_projects") not in _YES:
        return await _page_of_projects(context, organization.id)
    page = OffsetPage(requested_offset_page(context).size)
    search = project_search(query_parameter(context.request, "query") or "")
    chunks: list[bytes] = []
    if search is not None:
        async with aclosing(context.use_cases.projects.find_all(organization, search)) as lists:
            chunks = [_json_items(projects) async for projects in lists]
    link = offset_link_header(context, page, has_next=False)
    return bytes_response(b"[%s]" % b",".join(chunks), headers={"Link": link})


async def list_projects_of_token(context: RequestContext) -> Response:
    """``GET /api/0/projects/``: as `list_projects` for the token's organization, or those of all, newest first."""
    return await _page_of_projects(context, context.principal.organization_id)


async def _page_of_projects(context: RequestContext, organization_id: int | None) -> Response:
    page = requested_offset_page(context)
    search = project_search(query_parameter(context.request, "query") or "")
    found: Sequence[Project] = []
    if search is not None:
        limit = page.size + 1
        found = await context.use_cases.projects.find(organization_id, search, skip=page.skip, limit=limit)
    link = offset_link_header(context, page, has_next=len(found) > page.size)
    items = _json_items(found[: page.size])
    return bytes_response(b"[%s]" % items, headers={"Link": link})


async def list_teams(context: RequestContext) -> Response:
    """``GET …/teams/`` of an organization or a project: one, since clients name a team of each project."""
    organization = await context.use_cases.organizations.get(context.organization_name)
    page = requested_offset_page(context)
    values = [] if page.skip else [team_to_json(organization)]
    link = offset_link_header(context, page, has_next=False)
    return json_response(values, headers={"Link": link})


async def get_team(context: RequestContext) -> Response:
    """``GET /api/0/teams/{organization}/{team}/``: 404 for every other team than the one of `list_teams`."""
    organization = await context.use_cases.organizations.get(context.organization_name)
    if context.names["team"] not in {organization.slug, str(organization.id)}:
        raise NotFoundError("an organization has one team, with its slug")
    return json_response(team_to_json(organization))


def _json_items(projects: Sequence[Project]) -> bytes:
    """Return the JSON of projects, separated by commas."""
    return dump_json([project_to_json(project) for project in projects])[1:-1]


async def create_project(context: RequestContext) -> Response:
    """``POST /api/0/organizations/{organization}/projects/``: 201; creates a key unless ``defaultKey`` is false.

    Also of a team, which may have any name: there are no teams.
    """
    organization = await context.use_cases.organizations.get(context.organization_name)
    body = await read_body(context.request)
    project, replayed = await context.use_cases.projects.create(
        organization, load(_NEW_PROJECT, body), context.origin, context.idempotency_key(body)
    )
    headers = REPLAYED if replayed else {}
    return json_response(project_to_json(project), status=201, headers=headers)


async def get_project(context: RequestContext) -> Response:
    """``GET /api/0/projects/{organization}/{project}/``."""
    return json_response(project_to_json(context.project))


async def update_project(context: RequestContext) -> Response:
    """``PUT /api/0/projects/{organization}/{project}/``: after a change of the slug, the former slug redirects."""
    body = await read_body(context.request)
    change = load(_PROJECT_CHANGE, body)
    changed = await context.use_cases.projects.update(context.project, change, context.origin)
    return json_response(project_to_json(changed))


async def delete_project(context: RequestContext) -> Response:
    """``DELETE /api/0/projects/{organization}/{project}/``: 204; deletes its keys too, each with an event."""
    await context.use_cases.projects.delete(context.project, context.origin)
    return empty_response(status=204)
