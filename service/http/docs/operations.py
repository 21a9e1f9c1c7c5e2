"""What can be asked of the API, one entry for each handler: what the route table does not say of itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from marshmallow import Schema

from service.http import schemas
from service.http.docs import examples
from service.http.docs import response_schemas as answers
from service.http.handlers import audit, tenants
from service.http.handlers import keys as handlers
from service.http.server.response import Response
from service.http.state import RequestContext

Handler = Callable[[RequestContext], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    ``id`` names it for generated clients. ``body`` and ``answer`` are the schemas of what is sent and of what a
    success answers, None where there is nothing; ``many`` a list of the latter. ``parameters`` are names of
    `components.PARAMETERS`, ``headers`` of `components.HEADERS`; ``also`` are refusals that follow from neither.
    ``makes`` is the path's parameter that stands for what a success made.
    """

    id: str
    tag: Literal["keys", "projects", "organizations"]
    summary: str
    description: str = ""
    success: int = 200
    body: type[Schema] | None = None
    asked: Mapping[str, Any] | None = None
    answer: type[Schema] | None = None
    many: bool = False
    answered: Any = None
    parameters: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    also: tuple[int, ...] = ()
    makes: str | None = None


_TOLD: Final = ("Event-Id", "Event-Status", "Preference-Applied")
_ONCE: Final = ("Idempotency-Key",)
_PAGES: Final = ("per_page", "cursor")

OPERATIONS: Final[Mapping[Handler, Operation]] = {
    tenants.health: Operation(
        id="getHealth",
        tag="organizations",
        summary="Try a token",
        description="200 for every token that is known; clients look here what they may do at a time.",
        answer=answers.HealthAnswer,
        answered={"problems": [], "healthy": {}},
    ),
    tenants.create_organization: Operation(
        id="createOrganization",
        tag="organizations",
        summary="Make an organization",
        description="For tokens of all organizations alone.",
        success=201,
        body=schemas.NewOrganizationBody,
        asked=examples.NEW_ORGANIZATION,
        answer=answers.OrganizationAnswer,
        answered=examples.ORGANIZATION,
        parameters=_ONCE,
        headers=("Idempotent-Replayed",),
        makes="organization",
    ),
    tenants.get_organization: Operation(
        id="getOrganization",
        tag="organizations",
        summary="Show an organization",
        answer=answers.OrganizationAnswer,
        answered=examples.ORGANIZATION,
    ),
    tenants.update_organization: Operation(
        id="updateOrganization",
        tag="organizations",
        summary="Change an organization",
        description="What is not named stays as it is. Another ingest URL gives all keys of the organization new "
        "addresses, and tells of each.",
        body=schemas.OrganizationChangeBody,
        asked=examples.ORGANIZATION_CHANGE,
        answer=answers.OrganizationAnswer,
        answered=examples.ORGANIZATION,
    ),
    audit.list_entries: Operation(
        id="listAuditEntries",
        tag="organizations",
        summary="List what was changed, the newest first",
        description="Requires `org:write` or `org:admin`: entries name tokens and the addresses of clients.",
        answer=answers.AuditAnswer,
        answered=examples.AUDIT,
        parameters=("event", "actor", "target", *_PAGES),
        headers=("Link",),
    ),
    tenants.list_projects: Operation(
        id="listProjects",
        tag="projects",
        summary="List the projects of an organization, the newest first",
        answer=answers.ProjectAnswer,
        many=True,
        answered=[examples.PROJECT],
        parameters=_PAGES,
        headers=("Link",),
    ),
    tenants.create_project: Operation(
        id="createProject",
        tag="projects",
        summary="Make a project",
        description="With a first key, unless `defaultKey` is false.",
        success=201,
        body=schemas.NewProjectBody,
        asked=examples.NEW_PROJECT,
        answer=answers.ProjectAnswer,
        answered=examples.PROJECT,
        parameters=_ONCE,
        headers=("Idempotent-Replayed",),
        makes="project",
    ),
    tenants.get_project: Operation(
        id="getProject",
        tag="projects",
        summary="Show a project",
        answer=answers.ProjectAnswer,
        answered=examples.PROJECT,
    ),
    tenants.update_project: Operation(
        id="updateProject",
        tag="projects",
        summary="Change a project",
        description="What is not named stays as it is. The former slug leads to the project from then on.",
        body=schemas.ProjectChangeBody,
        asked=examples.PROJECT_CHANGE,
        answer=answers.ProjectAnswer,
        answered=examples.PROJECT,
        also=(409,),
    ),
    tenants.delete_project: Operation(
        id="deleteProject",
        tag="projects",
        summary="Delete a project",
        description="Its keys go with it, each with its event.",
        success=204,
    ),
    handlers.list_keys: Operation(
        id="listKeys",
        tag="keys",
        summary="List the keys of a project, the newest first",
        answer=answers.KeyAnswer,
        many=True,
        answered=[examples.KEY],
        parameters=("status", *_PAGES),
        headers=("Link",),
    ),
    handlers.list_organization_keys: Operation(
        id="listOrganizationKeys",
        tag="keys",
        summary="List the keys of all projects of an organization, the newest first",
        answer=answers.KeyAnswer,
        many=True,
        answered=[examples.KEY],
        parameters=("status", "team", *_PAGES),
        headers=("Link",),
    ),
    handlers.create_key: Operation(
        id="createKey",
        tag="keys",
        summary="Make a key",
        description="Every member may be absent. The key and the event that tells of it are committed together.",
        success=201,
        body=schemas.NewProjectKeyBody,
        asked=examples.NEW_KEY,
        answer=answers.KeyAnswer,
        answered=examples.KEY,
        parameters=(*_ONCE, "Prefer"),
        headers=(*_TOLD, "Idempotent-Replayed"),
        makes="key_id",
    ),
    handlers.get_key: Operation(
        id="getKey",
        tag="keys",
        summary="Show a key",
        answer=answers.KeyAnswer,
        answered=examples.KEY,
    ),
    handlers.update_key: Operation(
        id="updateKey",
        tag="keys",
        summary="Change a key",
        description="What is not named stays as it is.",
        body=schemas.ProjectKeyChangeBody,
        asked=examples.KEY_CHANGE,
        answer=answers.KeyAnswer,
        answered=examples.KEY,
        parameters=("Prefer",),
        headers=_TOLD,
    ),
    handlers.delete_key: Operation(
        id="deleteKey",
        tag="keys",
        summary="Delete a key",
        success=204,
        parameters=("Prefer",),
        headers=_TOLD,
    ),
}
