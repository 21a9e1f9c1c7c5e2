"""The resources of the API with their methods and scopes."""

import re
from typing import Final

from aiohttp import web

from service.http.dispatcher import PROJECT_PATH, Dispatcher, Resource, Scopes
from service.http.handlers import audit, console, keys, stats, tenants
from service.http.serializers import KeySerializer
from service.http.server.middleware import Middleware, Routes, allowed
from service.http.server.response import Response, bytes_response, empty_response, json_response
from service.http.server.state import ServerState
from service.usecases.use_cases import UseCases

_READ: Final = ("read", "write", "admin")
_WRITE: Final = ("write", "admin")


def scopes_of(noun: str) -> Scopes:
    """Return the scopes for the methods of a resource; ``noun`` is the first part of their names."""
    read = tuple(f"{noun}:{level}" for level in _READ)
    write = tuple(f"{noun}:{level}" for level in _WRITE)
    return {"GET": read, "HEAD": read, "POST": write, "PUT": write, "DELETE": (f"{noun}:admin",)}


RESOURCES: Final = (
    # The most frequent paths come first: they are tried in this order.
    Resource(
        f"{PROJECT_PATH}/keys/{{key_id}}/",
        {"GET": keys.get_key, "PUT": keys.update_key, "DELETE": keys.delete_key},
        scopes_of("project"),
    ),
    Resource(
        f"{PROJECT_PATH}/keys/",
        {"GET": keys.list_keys, "POST": keys.create_key},
        scopes_of("project"),
    ),
    Resource(f"{PROJECT_PATH}/keys/{{key_id}}/stats/", {"GET": stats.get_key_stats}, scopes_of("project")),
    Resource(f"{PROJECT_PATH}/keys/by-name/{{key_name}}/", {"PUT": keys.get_or_create_key}, scopes_of("project")),
    Resource(f"{PROJECT_PATH}/keys/{{key_id}}/rotate/", {"POST": keys.rotate_key}, scopes_of("project")),
    Resource(
        f"{PROJECT_PATH}/",
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
        "/api/0/teams/{organization}/{team}/projects/",
        {"POST": tenants.create_project},
        {"POST": ("project:write", "org:write")},
    ),
    Resource("/api/0/teams/{organization}/{team}/", {"GET": tenants.get_team}, scopes_of("org")),
    Resource("/api/0/projects/", {"GET": tenants.list_projects_of_token}, scopes_of("project")),
    Resource("/api/0/organizations/{organization}/teams/", {"GET": tenants.list_teams}, scopes_of("org")),
    Resource(
        "/api/0/organizations/{organization}/audit-logs/",
        {"GET": audit.list_entries},
        # Entries name tokens and client addresses, so reading them requires more than org:read.
        {**scopes_of("org"), "GET": ("org:write", "org:admin"), "HEAD": ("org:write", "org:admin")},
    ),
    Resource(
        "/api/0/organizations/{organization}/tokens/",
        {"GET": console.list_tokens},
        {"GET": ("org:admin",), "HEAD": ("org:admin",)},
    ),
    Resource(
        "/api/0/organizations/{organization}/events/stream/",
        {"GET": console.stream_events},
        {method: scopes_of("project")[method] + scopes_of("org")[method] for method in ("GET", "HEAD")},
    ),
    Resource(
        "/api/0/organizations/{organization}/",
        {"GET": tenants.get_organization, "PUT": tenants.update_organization},
        scopes_of("org"),
    ),
    Resource(
        "/api/0/organizations/",
        {"GET": tenants.list_organizations, "POST": tenants.create_organization},
        {**scopes_of("org"), "POST": ("org:admin",)},
    ),
    Resource(f"{PROJECT_PATH}/teams/", {"GET": tenants.list_teams}, scopes_of("project")),
    Resource("/api/0/users/me/regions/", {"GET": tenants.list_regions}, {}),
    Resource("/api/0/internal/health/", {"GET": tenants.health}, {}),
    Resource("/console/status", {"GET": console.get_status}, {}),
)

SESSION: Final = Resource(
    "/console/session",
    {"GET": console.get_session, "POST": console.open_session, "DELETE": console.end_session},
    {},
    signs_in=True,
)
"""The sessions of the console, which only browsers use."""


_PATHS: Final = re.compile("|".join(re.sub(r"{\w+}", "[^/]+", resource.path) for resource in RESOURCES))
"""The paths of all resources."""


def routes(state: ServerState, use_cases: UseCases, key_serializer: KeySerializer) -> Routes:
    """Return the routes of every resource; the response to every other path is 404."""
    found = Routes(unknown=Middleware(state, "unknown", _no_such_path))
    sessions = [] if state.console_origin is None else [SESSION]
    for resource in (*RESOURCES, *sessions):
        dispatcher = Dispatcher(resource, state, use_cases, key_serializer)
        allow = allowed(resource.methods)
        found.add(resource.path, Middleware(state, resource.path, dispatcher.dispatch, allow))
    return found


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
