"""Every resource of the API, its methods, and the order in which a request is checked."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.domain.errors import BusyError, MovedError, NotFoundError, ProjectKeyError, UnavailableError
from service.domain.model import Principal
from service.http.answers import bytes_response, empty_response, error_response, json_response
from service.http.auth import (
    Scopes,
    authenticate,
    bearer_token,
    permit_method,
    permit_organization,
    scopes_of,
)
from service.http.docs.asyncapi_page import add_asyncapi_routes
from service.http.errors import HttpError, method_not_allowed, moved
from service.http.handlers import audit, tenants
from service.http.handlers import keys as handlers
from service.http.request import check_acceptable
from service.http.server import middleware as record
from service.http.server.response import Response
from service.http.state import API, FAULT, PRINCIPAL, Api, RequestContext

Handler = Callable[[RequestContext], Awaitable[Response]]

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
        "/api/0/organizations/{organization}/audit-logs/",
        {"GET": audit.list_entries},
        # Entries name tokens and client addresses, so reading them requires more than org:read.
        {**scopes_of("org"), "GET": ("org:write", "org:admin"), "HEAD": ("org:write", "org:admin")},
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
    api = app[API]
    add_asyncapi_routes(app)
    for resource in RESOURCES:
        handler = record.with_request_context(api, resource.path, _dispatcher(api, resource))
        app.router.add_route("*", _pattern(resource.path), handler)
    # A dot would leave out line ends.
    app.router.add_route("*", r"/{path:[\s\S]*}", record.with_request_context(api, "unknown", _no_such_path))


def _pattern(path: str) -> str:
    """The path as the router reads it: a part may be of any characters, braces too, which its own form excludes."""
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", path)


def _dispatcher(api: Api, resource: Resource) -> record.Handler:
    allow = resource.allow
    handlers_by_method = dict(resource.methods)
    if "GET" in handlers_by_method:
        handlers_by_method["HEAD"] = handlers_by_method["GET"]
    in_project = resource.path.startswith(_PROJECT)

    async def dispatch(request: web.Request) -> Response:
        method, names = request.method, request.match_info
        if method == "OPTIONS":
            return empty_response(status=200, allow=allow)
        try:
            # The order decides which of several mistakes is told: who, may they, can one, of what, is it theirs.
            token = bearer_token(request)
            caller = api.tokens.cached(token) or await authenticate(api.tokens, token, request.remote)
            request[PRINCIPAL] = caller
            api.rate_limiter.count(caller)
            permit_method(caller, method, resource.scopes)
            if method not in handlers_by_method:
                raise method_not_allowed(method)
            _check_names(caller, names)
            project = None
            if in_project:
                at = names["organization"], names["project"]
                project = api.projects.known(*at) or await api.projects.get(*at)
            if method == "DELETE":  # elsewhere whoever reads the body asks for this, before that is read
                check_acceptable(request)
            answer = await handlers_by_method[method](RequestContext(request, api, caller, allow, project))
            if method in {"GET", "HEAD"}:  # what does not exist is told before what cannot be read
                check_acceptable(request)
        except (HttpError, ProjectKeyError) as error:
            return _refusal(request, error, allow)
        else:
            return answer

    return dispatch


def _check_names(caller: Principal, names: Mapping[str, str]) -> None:
    if "organization" in names:
        permit_organization(caller, names["organization"])
    if not all(map(_NAME.fullmatch, names.values())):
        raise NotFoundError("nothing has such a name")


def _refusal(request: web.Request, error: HttpError | ProjectKeyError, allow: str) -> Response:
    if isinstance(error, MovedError):
        error = moved(request.method, _renamed(request, error.slug), error.slug)
    elif isinstance(error, BusyError | UnavailableError):
        request[FAULT] = str(error)
    return error_response(error, allow=allow)


def _renamed(request: web.Request, slug: str) -> str:
    """The path and the query of a request under a project, with another name for that."""
    url = request.rel_url
    parts = url.raw_path.split("/")
    parts[_PROJECT.split("/").index("{project}")] = slug
    return "/".join(parts) + (f"?{url.raw_query_string}" if url.raw_query_string else "")


async def _no_such_path(request: web.Request) -> Response:
    if request.path.endswith("/"):
        return empty_response(status=404)
    suggestion = f"{request.path}/"
    if request.headers.get("Content-Type", "").startswith("application/json"):
        return json_response(
            {"info": f"Route not found, did you forget a trailing slash? try: {suggestion}"}, status=404
        )
    pointer = " " * (len("try: ") + len(suggestion) - 1) + "^"
    text = f"Route not found, did you forget a trailing slash?\n\ntry: {suggestion}\n{pointer}"
    return bytes_response(text.encode(errors="replace"), status=404, content_type="text/plain; charset=utf-8")
