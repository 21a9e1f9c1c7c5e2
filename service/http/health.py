"""``/_health/`` on the API port: the readiness of this process, for load balancers that reach no other port."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from service.http.ops import Health
from service.http.server.middleware import Routes
from service.http.server.response import Response, json_response
from service.http.server.state import Request, ServerState

PATH: Final = "/_health/"
_CACHE_SECONDS: Final = 1.0
"""Seconds between two checks, so that requests without a token cannot occupy Postgres."""


def add_health_route(routes: Routes, state: ServerState, health: Health) -> None:
    """Add the route, which requires no token: 200 if the process is ready, otherwise 503, without the reason."""
    routes.add_methods(state, PATH, {"GET": _HealthHandler(health).respond})


class _HealthHandler:
    def __init__(self, health: Health, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._health = health
        self._clock = clock
        self._checking = asyncio.Lock()
        self._valid_until = 0.0
        self._is_ready = False

    async def respond(self, _request: Request) -> Response:
        """Return whether the process is ready."""
        async with self._checking:
            if self._clock() >= self._valid_until:
                self._is_ready = self._health.is_ready(await self._health.checks())
                self._valid_until = self._clock() + _CACHE_SECONDS
        is_ready = self._is_ready and not self._health.stopping
        body = {"status": "ok" if is_ready else "unready"}
        return json_response(body, status=200 if is_ready else 503)
