"""Making organizations and projects."""

from typing import Final

from aiohttp import web

from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG, slug_of
from service.http.answers import json_answer, wire_organization, wire_project
from service.http.bodies import read_json
from service.http.refusals import NO_PERMISSION, Refusal
from service.http.schemas import NewOrganization, NewOrganizationBody, NewProject, NewProjectBody, load
from service.http.state import Call

_NEW_ORGANIZATION: Final = NewOrganizationBody()
_NEW_PROJECT: Final = NewProjectBody()


async def create_organization(call: Call) -> web.Response:
    """``POST /api/0/organizations/``: for tokens of all organizations."""
    if call.caller.organization_id is not None:
        raise Refusal(403, NO_PERMISSION)
    body = await read_json(call.request, timeout=call.api.body_timeout)
    asked: NewOrganization = load(_NEW_ORGANIZATION, body)
    organization = await call.api.provisioning.create_organization(
        slug=_slug(asked.slug, asked.name, ORGANIZATION_SLUG), name=asked.name, origin=call.origin
    )
    return json_answer(wire_organization(organization), status=201, allow=call.allow)


async def create_project(call: Call) -> web.Response:
    """``POST /api/0/organizations/{organization}/projects/``: with a first key unless told otherwise."""
    organization = await call.api.provisioning.organization(call.request.match_info["organization"])
    body = await read_json(call.request, timeout=call.api.body_timeout)
    asked: NewProject = load(_NEW_PROJECT, body)
    project = await call.api.provisioning.create_project(
        organization,
        slug=_slug(asked.slug, asked.name, PROJECT_SLUG),
        name=asked.name,
        default_key=asked.default_key,
        origin=call.origin,
    )
    return json_answer(wire_project(project), status=201, allow=call.allow)


def _slug(asked: str | None, name: str, pattern: str) -> str:
    slug = asked or slug_of(name, pattern)
    if slug is None:
        raise Refusal(400, {"slug": ["The name makes no slug. Give one."]})
    return slug
