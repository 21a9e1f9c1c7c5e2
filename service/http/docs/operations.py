"""The operations of the API by handler: the parts of the OpenAPI document that the route table does not contain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from marshmallow import Schema

from service.http import schemas
from service.http.dispatcher import Handler
from service.http.docs import examples, response_schemas
from service.http.handlers import audit, keys, tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of a path.

    Attributes:
        id: The operation id, which generated clients use as the name of a function.
        tag: The group of the operation in the document.
        summary: A short description without a period.
        description: Further sentences.
        success: The status of a successful response.
        request: The schema of the request body; None if the operation has no body.
        request_examples: Request bodies by summary.
        response: The schema of a successful response; None if it has no body.
        many: Whether a successful response is an array of ``response``.
        response_example: The body of a successful response.
        parameters: Names in `components.PARAMETERS`; the parameters of the path are added.
        response_headers: Names in `components.HEADERS`.
        errors: Statuses of errors in addition to those that `openapi` derives.
        creates: The path parameter of the created resource, for links.
    """

    id: str
    tag: Literal["keys", "projects", "organizations"]
    summary: str
    description: str = ""
    success: int = 200
    request: type[schemas.Body[Any]] | None = None
    request_examples: Mapping[str, Any] | None = None
    response: type[Schema] | None = None
    many: bool = False
    response_example: Any = None
    parameters: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    creates: str | None = None


_EVENT_HEADERS: Final = ("Event-Id", "Event-Status", "Preference-Applied")
_PAGINATION: Final = ("per_page", "cursor")

OPERATIONS: Final[Mapping[Handler, Operation]] = {
    tenants.health: Operation(
        id="getHealth",
        tag="organizations",
        summary="Check a token",
        description="Responds with 200 to every valid token. Clients read the concurrency limit from the headers.",
        response=response_schemas.Health,
        response_example={"problems": [], "healthy": {}},
    ),
    tenants.create_organization: Operation(
        id="createOrganization",
        tag="organizations",
        summary="Create an organization",
        description="Requires a token that is not limited to an organization.",
        success=201,
        request=schemas.NewOrganizationBody,
        request_examples=examples.NEW_ORGANIZATION,
        response=response_schemas.Organization,
        response_example=examples.ORGANIZATION,
        parameters=("Idempotency-Key",),
        response_headers=("Idempotent-Replayed",),
        creates="organization",
    ),
    tenants.get_organization: Operation(
        id="getOrganization",
        tag="organizations",
        summary="Get an organization",
        response=response_schemas.Organization,
        response_example=examples.ORGANIZATION,
    ),
    tenants.update_organization: Operation(
        id="updateOrganization",
        tag="organizations",
        summary="Update an organization",
        description="Absent members stay unchanged. A new ingest URL changes the DSNs of all keys of the "
        "organization; an event is published for each key.",
        request=schemas.OrganizationChangeBody,
        request_examples=examples.ORGANIZATION_CHANGE,
        response=response_schemas.Organization,
        response_example=examples.ORGANIZATION,
    ),
    audit.list_entries: Operation(
        id="listAuditEntries",
        tag="organizations",
        summary="List the audit log, newest first",
        description="Requires `org:write` or `org:admin`: entries contain token names and client addresses.",
        response=response_schemas.AuditPage,
        response_example=examples.AUDIT,
        parameters=("event", "actor", "target", *_PAGINATION),
        response_headers=("Link",),
    ),
    tenants.list_projects: Operation(
        id="listProjects",
        tag="projects",
        summary="List the projects of an organization, sorted by slug",
        response=response_schemas.Project,
        many=True,
        response_example=[examples.PROJECT],
        parameters=("query", "all_projects", "projects_per_page", "projects_cursor"),
        response_headers=("Link",),
    ),
    tenants.create_project: Operation(
        id="createProject",
        tag="projects",
        summary="Create a project",
        description="Also creates a key named `Default`, unless `defaultKey` is false.",
        success=201,
        request=schemas.NewProjectBody,
        request_examples=examples.NEW_PROJECT,
        response=response_schemas.Project,
        response_example=examples.PROJECT,
        parameters=("Idempotency-Key",),
        response_headers=("Idempotent-Replayed",),
        creates="project",
    ),
    tenants.get_project: Operation(
        id="getProject",
        tag="projects",
        summary="Get a project",
        response=response_schemas.Project,
        response_example=examples.PROJECT,
    ),
    tenants.update_project: Operation(
        id="updateProject",
        tag="projects",
        summary="Update a project",
        description="Absent members stay unchanged. Requests with the previous slug are redirected.",
        request=schemas.ProjectChangeBody,
        request_examples=examples.PROJECT_CHANGE,
        response=response_schemas.Project,
        response_example=examples.PROJECT,
        errors=(409,),
    ),
    tenants.delete_project: Operation(
        id="deleteProject",
        tag="projects",
        summary="Delete a project",
        description="Deletes its keys as well; an event is published for each key.",
        success=204,
    ),
    keys.list_keys: Operation(
        id="listKeys",
        tag="keys",
        summary="List the keys of a project, newest first",
        response=response_schemas.Key,
        many=True,
        response_example=[examples.KEY],
        parameters=("status", *_PAGINATION),
        response_headers=("Link",),
    ),
    keys.list_organization_keys: Operation(
        id="listOrganizationKeys",
        tag="keys",
        summary="List the keys of all projects of an organization, newest first",
        response=response_schemas.Key,
        many=True,
        response_example=[examples.KEY],
        parameters=("status", "team", *_PAGINATION),
        response_headers=("Link",),
    ),
    keys.create_key: Operation(
        id="createKey",
        tag="keys",
        summary="Create a key",
        description="Every member is optional. The key and its event are committed in one transaction.",
        success=201,
        request=schemas.NewProjectKeyBody,
        request_examples=examples.NEW_KEY,
        response=response_schemas.Key,
        response_example=examples.KEY,
        parameters=("Idempotency-Key", "Prefer"),
        response_headers=(*_EVENT_HEADERS, "Idempotent-Replayed"),
        creates="key_id",
    ),
    keys.get_key: Operation(
        id="getKey",
        tag="keys",
        summary="Get a key",
        response=response_schemas.Key,
        response_example=examples.KEY,
    ),
    keys.update_key: Operation(
        id="updateKey",
        tag="keys",
        summary="Update a key",
        description="Absent members stay unchanged.",
        request=schemas.ProjectKeyChangeBody,
        request_examples=examples.KEY_CHANGE,
        response=response_schemas.Key,
        response_example=examples.KEY,
        parameters=("Prefer",),
        response_headers=_EVENT_HEADERS,
    ),
    keys.delete_key: Operation(
        id="deleteKey",
        tag="keys",
        summary="Delete a key",
        success=204,
        parameters=("Prefer",),
        response_headers=_EVENT_HEADERS,
    ),
}
