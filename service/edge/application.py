"""The application of the edge: its routes and their background tasks."""

import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web
from typing_extensions import override

from service.concurrency.supervisor import Work, supervised
from service.edge.authorization import Authorization
from service.edge.lookups import EdgeToken, Lookups
from service.edge.original_requests import PATH
from service.edge.relay_requests import RelayRequests
from service.http.errors import RETRY_AFTER, HttpError
from service.http.server.middleware import ROUTES, Handler, Middleware, Routes
from service.http.server.response import Response, empty_response, header_lines
from service.http.server.state import Request, ServerState

BODY_LIMIT: Final = 2**20
"""Bytes of a request body."""

_INGEST_PATH: Final = re.compile(r"/api/[1-9][0-9]*/")
_DECISION_PATHS: Final = (PATH, f"{PATH}/", f"{PATH}?")  # the first one is complete, the others are prefixes
_NO_TOKEN: Final = header_lines({"X-Auth-Status": "403", "X-Auth-Reason": "edge_token"})


def create_edge_app(
    state: ServerState,
    background: Mapping[str, Work],
    requests: RelayRequests,
    authorization: Authorization,
    lookups: Lookups,
    token: EdgeToken,
) -> web.Application:
    """Create the application, which runs the tasks of ``background``, by name."""
    app = web.Application()
    app[ROUTES] = _EdgeRoutes(state, authorization, token)
    for path, handlers in _resources(requests, lookups).items():
        app[ROUTES].add_methods(state, path, handlers)

    async def run_background_tasks(_app: web.Application) -> AsyncIterator[None]:
        restarts = state.metrics.restarts
        tasks = {"deadlines": state.deadlines.run, "admission": state.admission.run, **background}
        async with AsyncExitStack() as stack:
            for name, run in tasks.items():
                await stack.enter_async_context(supervised(name, run, restarts))
            yield

    app.cleanup_ctx.append(run_background_tasks)
    return app


def _resources(requests: RelayRequests, lookups: Lookups) -> Mapping[str, Mapping[str, Handler]]:
    """Return the handler of each method of each path, other than /auth."""
    relay_path = "/api/0/relays/"
    return {
        f"{relay_path}projectconfigs/": {"POST": requests.project_configs},
        f"{relay_path}live/": {"GET": requests.live},
        f"{relay_path}register/challenge/": {"POST": requests.challenge},
        f"{relay_path}register/response/": {"POST": requests.response},
        f"{relay_path}publickeys/": {"POST": requests.public_keys},
        f"{relay_path}outcomes/": {"POST": requests.outcomes},
        "/keys/lookup": {"POST": lookups.get_keys},
        "/keys/{public_key}": {"GET": lookups.get_key},
    }


class _EdgeRoutes(Routes):
    """The routes. Decisions need no middleware, which would take longer than they do.

    Args:
        state: The state of the server.
        authorization: Decides for proxies.
        token: The token that proxies must send.
    """

    def __init__(self, state: ServerState, authorization: Authorization, token: EdgeToken) -> None:
        super().__init__(Middleware(state, "unknown", _no_such_path))
        self._state = state
        self._authorization = authorization
        self._token = token

    @override
    def handle(self, request: Request) -> Awaitable[Response]:
        if request.raw_path[: len(PATH) + 1] in _DECISION_PATHS:
            return self._decide(request)
        return super().handle(request)

    async def _decide(self, request: Request) -> Response:
        if self._token and not self._token.is_in(request):
            response = Response(_NO_TOKEN, b'{"detail":"edge_token"}', status=403)
        else:
            response = await self._authorization.respond(request)
        if self._state.draining:
            response.force_close()
        return response


async def _no_such_path(request: Request) -> Response:
    """Return 404; for an envelope 503, so that a relay keeps it: after 404 or 500 it would discard it."""
    if not _INGEST_PATH.match(request.path):
        return empty_response(status=404)
    raise HttpError(
        503,
        "The edge receives no events: route /api/<project id>/ to the ingest service.",
        RETRY_AFTER,
        closes_connection=True,
    )
