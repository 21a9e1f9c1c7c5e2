"""Making, showing, changing and deleting organizations and projects."""

from typing import Final

from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG, OrganizationChange, ProjectChange, slug_of
from service.http.answer import Answer
from service.http.answers import empty_answer, json_answer, wire_organization, wire_project
from service.http.bodies import read_body
from service.http.pagination import asked_page, link
from service.http.refusals import NO_PERMISSION, Refusal
from service.http.schemas import (
    NewOrganization,
    NewOrganizationBody,
    NewProject,
    NewProjectBody,
    OrganizationChangeBody,
    ProjectChangeBody,
    load,
)
from service.http.state import Call
from service.http.writes import idempotency_key

_NEW_ORGANIZATION: Final = NewOrganizationBody()
_ORGANIZATION_CHANGE: Final = OrganizationChangeBody()
_NEW_PROJECT: Final = NewProjectBody()
_PROJECT_CHANGE: Final = ProjectChangeBody()


async def health(call: Call) -> Answer:
    """``GET /api/0/internal/health/``: 200 for every token; clients try theirs here."""
    return json_answer({"problems": [], "healthy": {}}, allow=call.allow)


async def create_organization(call: Call) -> Answer:
    """``POST /api/0/organizations/``: for tokens of all organizations."""
    if call.caller.organization_id is not None:
        raise Refusal(403, NO_PERMISSION)
    body = await read_body(call.request, timeout=call.api.body_timeout)
    asked: NewOrganization = load(_NEW_ORGANIZATION, body)
    organization, replayed = await call.api.organizations.create(
        slug=_slug(asked.slug, asked.name, ORGANIZATION_SLUG),
        name=asked.name,
        origin=call.origin,
        ingest_url=asked.ingest_url,
        once=idempotency_key(call, body),
    )
    return json_answer(
        wire_organization(organization), status=201, allow=call.allow, headers=_replayed(replayed)
    )


async def get_organization(call: Call) -> Answer:
    """``GET /api/0/organizations/{organization}/``."""
    organization = await call.api.organizations.get(call.organization_name)
    return json_answer(wire_organization(organization), allow=call.allow)


async def update_organization(call: Call) -> Answer:
    """``PUT /api/0/organizations/{organization}/``: another ingest URL gives all its keys new versions."""
    organization = await call.api.organizations.get(call.organization_name)
    body = await read_body(call.request, timeout=call.api.body_timeout)
    change: OrganizationChange = load(_ORGANIZATION_CHANGE, body)
    changed = await call.api.organizations.update(organization, change, call.origin)
    return json_answer(wire_organization(changed), allow=call.allow)


async def list_projects(call: Call) -> Answer:
    """``GET /api/0/organizations/{organization}/projects/``: the newest first."""
    organization = await call.api.organizations.get(call.organization_name)
    page = asked_page(call)
    found = await call.api.projects.page(organization, page)
    return json_answer(
        [wire_project(project) for project in page.of(found)],
        allow=call.allow,
        headers={"Link": link(call, page, [project.id for project in found])},
    )


async def create_project(call: Call) -> Answer:
    """``POST /api/0/organizations/{organization}/projects/``: with a first key unless told otherwise."""
    organization = await call.api.organizations.get(call.organization_name)
    body = await read_body(call.request, timeout=call.api.body_timeout)
    asked: NewProject = load(_NEW_PROJECT, body)
    project, replayed = await call.api.projects.create(
        organization,
        slug=_slug(asked.slug, asked.name, PROJECT_SLUG),
        name=asked.name,
        default_key=asked.default_key,
        origin=call.origin,
        once=idempotency_key(call, body),
    )
    return json_answer(wire_project(project), status=201, allow=call.allow, headers=_replayed(replayed))


async def get_project(call: Call) -> Answer:
    """``GET /api/0/projects/{organization}/{project}/``."""
    return json_answer(wire_project(call.project), allow=call.allow)


async def update_project(call: Call) -> Answer:
    """``PUT /api/0/projects/{organization}/{project}/``: its former slug leads to it from then on."""
    body = await read_body(call.request, timeout=call.api.body_timeout)
    change: ProjectChange = load(_PROJECT_CHANGE, body)
    changed = await call.api.projects.update(call.project, change, call.origin)
    return json_answer(wire_project(changed), allow=call.allow)


async def delete_project(call: Call) -> Answer:
    """``DELETE /api/0/projects/{organization}/{project}/``: its keys go with it, each with its event."""
    await call.api.projects.delete(call.project, call.origin)
    return empty_answer(status=204, allow=call.allow)


def _replayed(replayed: bool) -> dict[str, str]:  # noqa: FBT001 -- its one argument
    return {"Idempotent-Replayed": "true"} if replayed else {}


def _slug(asked: str | None, name: str, pattern: str) -> str:
    slug = asked or slug_of(name, pattern)
    if slug is None:
        raise Refusal(400, {"slug": ["The name makes no slug. Give one."]})
    return slug
