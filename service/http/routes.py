"""Every resource of the API, its methods, and the order in which a request is checked."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.domain.errors import BusyError, MovedError, NotFoundError, ProjectKeyError, UnavailableError
from service.domain.model import Project
from service.http import audit, handlers, tenants
from service.http.answers import empty_answer, json_answer, refused
from service.http.auth import Scopes, authenticate, permit_method, permit_organization, scopes_of
from service.http.event_documents import add_event_documents
from service.http.negotiation import check_acceptable
from service.http.refusals import Refusal, method_not_allowed, moved
from service.http.state import API, CALLER, FAULT, Call

Handler = Callable[[Call], Awaitable[web.Response]]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What ids, slugs and keys are made of: Postgres is not asked for anything else, which it might not even take."""

_PROJECT: Final = "/api/0/projects/{organization}/{project}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A path and what can be done there."""

    path: str
    methods: Mapping[str, Handler]
    scopes: Scopes

    @property
    def allow(self) -> str:
        """The methods, as the header names them."""
        head = ["HEAD"] if "GET" in self.methods else []
        return ", ".join([*self.methods, *head, "OPTIONS"])


RESOURCES: Final = (
    # What is asked for most comes first: paths that begin alike are tried in this order.
    Resource(
        f"{_PROJECT}/keys/{{key_id}}/",
        {"GET": handlers.get_key, "PUT": handlers.update_key, "DELETE": handlers.delete_key},
        scopes_of("project"),
    ),
    Resource(
        f"{_PROJECT}/keys/",
        {"GET": handlers.list_keys, "POST": handlers.create_key},
        scopes_of("project"),
    ),
    Resource(
        f"{_PROJECT}/",
        {"GET": tenants.get_project, "PUT": tenants.update_project, "DELETE": tenants.delete_project},
        scopes_of("project"),
    ),
    Resource(
        "/api/0/organizations/{organization}/project-keys/",
        {"GET": handlers.list_organization_keys},
        scopes_of("org"),
    ),
    Resource(
        "/api/0/organizations/{organization}/projects/",
        {"GET": tenants.list_projects, "POST": tenants.create_project},
        {**scopes_of("org"), "POST": ("project:write", "org:write")},
    ),
    Resource(
        "/api/0/organizations/{organization}/audit-logs/", {"GET": audit.list_entries}, scopes_of("org")
    ),
    Resource(
        "/api/0/organizations/{organization}/",
        {"GET": tenants.get_organization, "PUT": tenants.update_organization},
        scopes_of("org"),
    ),
    Resource(
        "/api/0/organizations/",
        {"POST": tenants.create_organization},
        {"POST": ("org:admin",)},
    ),
    Resource("/api/0/internal/health/", {"GET": tenants.health}, {}),
)


def add_routes(app: web.Application) -> None:
    """Serve every resource, the events' documents, and an answer for every other path."""
    add_event_documents(app)
    for resource in RESOURCES:
        app.router.add_route("*", _pattern(resource.path), _dispatcher(resource))
    app.router.add_route("*", r"/{path:[\s\S]*}", _no_such_path)  # a dot would leave out line ends


def _pattern(path: str) -> str:
    """The path as the router reads it: a part may be of any characters, braces too, which its own form excludes."""
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", path)


def _dispatcher(resource: Resource) -> Callable[[web.Request], Awaitable[web.Response]]:
    allow = resource.allow
    handlers_by_method = dict(resource.methods)
    if "GET" in handlers_by_method:
        handlers_by_method["HEAD"] = handlers_by_method["GET"]

    async def dispatch(request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return empty_answer(status=200, allow=allow)
        try:
            call = await _permitted(request, resource, allow, known=request.method in handlers_by_method)
            return await _handled(call, handlers_by_method[request.method])
        except (BusyError, UnavailableError) as error:
            request[FAULT] = str(error)
            return refused(error, allow=allow)
        except MovedError as error:
            return refused(moved(request.method, _renamed(request, error.slug), error.slug), allow=allow)
        except (Refusal, ProjectKeyError) as error:
            return refused(error, allow=allow)

    return dispatch


async def _handled(call: Call, handler: Handler) -> web.Response:
    """What does not exist is told before what cannot be read; a body is asked for in between, by its reader."""
    method = call.request.method
    if method == "DELETE":
        check_acceptable(call.request)
    response = await handler(call)
    if method in {"GET", "HEAD"}:
        check_acceptable(call.request)
    return response


def _renamed(request: web.Request, slug: str) -> str:
    """The path and the query of a request under a project, with another name for that."""
    url = request.rel_url
    parts = url.raw_path.split("/")
    parts[_PROJECT.split("/").index("{project}")] = slug
    return "/".join(parts) + (f"?{url.raw_query_string}" if url.raw_query_string else "")


async def _permitted(request: web.Request, resource: Resource, allow: str, *, known: bool) -> Call:
    """The order decides which of several mistakes is told: who, may they, can one, of what, is it theirs."""
    api = request.app[API]
    caller = await authenticate(request, api.tokens)
    request[CALLER] = caller
    api.rate_limits.count(caller)
    permit_method(caller, request.method, resource.scopes)
    if not known:
        raise method_not_allowed(request.method)
    project: Project | None = None
    names = request.match_info
    if "organization" in names:
        permit_organization(caller, names["organization"])
    if not all(map(_NAME.fullmatch, names.values())):
        raise NotFoundError("nothing has such a name")
    if "project" in names:
        project = await api.projects.get(names["organization"], names["project"])
    return Call(request=request, api=api, caller=caller, allow=allow, found_project=project)


async def _no_such_path(request: web.Request) -> web.Response:
    if request.path.endswith("/"):
        return empty_answer(status=404)
    suggestion = f"{request.path}/"
    if request.headers.get("Content-Type", "").startswith("application/json"):
        return json_answer(
            {"info": f"Route not found, did you forget a trailing slash? try: {suggestion}"}, status=404
        )
    response = empty_answer(status=404)
    response.content_type = "text/plain"
    response.text = (
        "Route not found, did you forget a trailing slash?\n\n"
        f"try: {suggestion}\n" + " " * (len("try: ") + len(suggestion) - 1) + "^"
    )
    return response
