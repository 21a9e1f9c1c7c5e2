"""The resources of the API, their methods, and the order in which a request is checked."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.domain.errors import BusyError, MovedError, NotFoundError, ProjectKeyError, UnavailableError
from service.domain.model import Principal
from service.http.auth import (
    Scopes,
    authenticate,
    bearer_token,
    check_organization,
    check_scopes,
    scopes_of,
)
from service.http.context import RequestContext
from service.http.errors import HttpError, method_not_allowed, redirect
from service.http.handlers import audit, keys, tenants
from service.http.request import check_acceptable
from service.http.serializers import KeySerializer
from service.http.server.middleware import Middleware
from service.http.server.response import (
    Response,
    bytes_response,
    empty_response,
    error_response,
    json_response,
)
from service.http.server.state import FAULT, PRINCIPAL, ServerState
from service.usecases.use_cases import UseCases

Handler = Callable[[RequestContext], Awaitable[Response]]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The format of ids, slugs and public keys in paths; other names are not looked up, as Postgres rejects some."""

_PROJECT: Final = "/api/0/projects/{organization}/{project}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A path, the handler of each method and the scopes that permit each method."""

    path: str
    methods: Mapping[str, Handler]
    scopes: Scopes

    @property
    def allow(self) -> str:
        """The methods, as in the header Allow."""
        head = ["HEAD"] if "GET" in self.methods else []
        return ", ".join([*self.methods, *head, "OPTIONS"])


RESOURCES: Final = (
    # The most frequent paths come first: the router tries those with the same prefix in this order.
    Resource(
        f"{_PROJECT}/keys/{{key_id}}/",
        {"GET": keys.get_key, "PUT": keys.update_key, "DELETE": keys.delete_key},
        scopes_of("project"),
    ),
    Resource(
        f"{_PROJECT}/keys/",
        {"GET": keys.list_keys, "POST": keys.create_key},
        scopes_of("project"),
    ),
    Resource(
        f"{_PROJECT}/",
        {"GET": tenants.get_project, "PUT": tenants.update_project, "DELETE": tenants.delete_project},
        scopes_of("project"),
    ),
    Resource(
        "/api/0/organizations/{organization}/project-keys/",
        {"GET": keys.list_organization_keys},
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


_PATHS: Final = re.compile("|".join(re.sub(r"{\w+}", "[^/]+", resource.path) for resource in RESOURCES))
"""The paths of all resources."""


def add_routes(
    app: web.Application, state: ServerState, use_cases: UseCases, key_serializer: KeySerializer
) -> None:
    """Serve every resource, and 404 for every other path."""
    for resource in RESOURCES:
        dispatcher = Dispatcher(resource, state, use_cases, key_serializer)
        app.router.add_route(
            "*", _pattern(resource.path), Middleware(state, resource.path, dispatcher.dispatch).handle
        )
    # "." does not match a line end.
    app.router.add_route("*", r"/{path:[\s\S]*}", Middleware(state, "unknown", _no_such_path).handle)


def _pattern(path: str) -> str:
    """Return ``path`` in the router's syntax; without the pattern, a variable would not match braces."""
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", path)


class Dispatcher:
    """The checks of the requests of one resource, and the call of the handler of the method."""

    def __init__(
        self,
        resource: Resource,
        state: ServerState,
        use_cases: UseCases,
        key_serializer: KeySerializer,
    ) -> None:
        self._state = state
        self._use_cases = use_cases
        self._key_serializer = key_serializer
        self._scopes = resource.scopes
        self._allow = resource.allow
        self._handlers = dict(resource.methods)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._is_in_project = resource.path.startswith(_PROJECT)

    async def dispatch(self, request: web.Request) -> Response:
        """Return the response to ``request``; convert `HttpError` and domain errors to error responses."""
        if request.method == "OPTIONS":
            return empty_response(status=200, allow=self._allow)
        try:
            return await self._respond(request)
        except MovedError as error:
            url = self._state.path_prefix + _renamed(request, error.slug)
            return error_response(redirect(request.method, url, error.slug), allow=self._allow)
        except (HttpError, ProjectKeyError) as error:
            if isinstance(error, BusyError | UnavailableError):
                request[FAULT] = str(error)
            return error_response(error, allow=self._allow)

    async def _respond(self, request: web.Request) -> Response:
        """Check the request and call its handler; the order of checks decides which error a client receives."""
        method, names = request.method, request.match_info
        tokens, token = self._use_cases.tokens, bearer_token(request)
        principal = tokens.cached(token) or await authenticate(tokens, token)
        request[PRINCIPAL] = principal
        if principal.rate_limit is not None:
            self._state.rate_limiter.count(principal)
        check_scopes(principal, method, self._scopes)
        handler = self._handlers.get(method)
        if handler is None:
            raise method_not_allowed(method)
        _check_names(principal, names)
        project = None
        if self._is_in_project:
            projects, organization, name = self._use_cases.projects, names["organization"], names["project"]
            project = projects.get_cached(organization, name) or await projects.get(organization, name)
        if method == "DELETE":  # for POST and PUT, `read_body` checks it
            check_acceptable(request)
        response = await handler(
            RequestContext(
                request,
                self._state,
                self._use_cases,
                self._key_serializer,
                principal,
                self._allow,
                project,
            )
        )
        if method in {"GET", "HEAD"}:  # 404 takes precedence over 406
            check_acceptable(request)
        return response


def _check_names(principal: Principal, names: Mapping[str, str]) -> None:
    if "organization" in names:
        check_organization(principal, names["organization"])
    if not all(map(_NAME.fullmatch, names.values())):
        raise NotFoundError("an id, slug or public key in the path contains invalid characters")


def _renamed(request: web.Request, slug: str) -> str:
    """Return the path and query of ``request`` with ``slug`` as the name of the project."""
    url = request.rel_url
    parts = url.raw_path.split("/")
    parts[_PROJECT.split("/").index("{project}")] = slug
    return "/".join(parts) + (f"?{url.raw_query_string}" if url.raw_query_string else "")


async def _no_such_path(request: web.Request) -> Response:
    if not _PATHS.fullmatch(f"{request.rel_url.raw_path}/"):
        return empty_response(status=404)
    suggestion = f"{request.path}/"
    if request.headers.get("Content-Type", "").startswith("application/json"):
        return json_response(
            {"info": f"Route not found, did you forget a trailing slash? try: {suggestion}"}, status=404
        )
    pointer = " " * (len("try: ") + len(suggestion) - 1) + "^"
    text = f"Route not found, did you forget a trailing slash?\n\ntry: {suggestion}\n{pointer}"
    return bytes_response(text.encode(errors="replace"), status=404, content_type="text/plain; charset=utf-8")
