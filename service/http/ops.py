"""The operations port: liveness, readiness and metrics."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service.http.request import joined_header
from service.http.server.response import Response, bytes_response, empty_response, json_response


@dataclass(slots=True)
class Health:
    """The checks of readiness and the update of metrics.

    Args:
        checks: Returns the state of each dependency by its name: "ok" or the problem.
        required: The dependencies without which the process is not ready.
        before_scrape: Updates the metrics that are derived from Postgres; called before each export.
        stopping: Whether the process is about to stop; it is then not ready, independent of the checks.
    """

    checks: Callable[[], Awaitable[dict[str, str]]]
    required: frozenset[str]
    before_scrape: Callable[[], Awaitable[None]]
    stopping: bool = False

    def is_ready(self, checks: Mapping[str, str]) -> bool:
        """Return whether ``checks`` report no problem of a required dependency."""
        return all(checks.get(name) == "ok" for name in self.required)


HEALTH: Final = web.AppKey("health", Health)
REGISTRY: Final = web.AppKey("registry", CollectorRegistry)


def create_ops_app(health: Health, registry: CollectorRegistry) -> web.Application:
    """Create the application of the operations port, which has no route of the API."""
    app = web.Application()
    app[HEALTH] = health
    app[REGISTRY] = registry
    app.add_routes([web.get("/livez", _livez), web.get("/readyz", _readyz), web.get("/metrics", _metrics)])
    app.router.add_route("*", r"/{path:[\s\S]*}", _not_found)
    return app


async def _livez(_request: web.Request) -> Response:
    """Return 200 without checks of dependencies, because a restart would not repair them."""
    return json_response({"status": "ok"})


async def _readyz(request: web.Request) -> Response:
    health = request.app[HEALTH]
    if health.stopping:
        return json_response({"status": "stopping"}, status=503)
    checks = await health.checks()
    is_ready = health.is_ready(checks)
    body = {"status": "ok" if is_ready else "unready", "checks": checks}
    return json_response(body, status=200 if is_ready else 503)


async def _metrics(request: web.Request) -> Response:
    await request.app[HEALTH].before_scrape()
    encode, content_type = choose_encoder(joined_header(request, "Accept"))
    return bytes_response(encode(request.app[REGISTRY]), content_type=content_type)


async def _not_found(_request: web.Request) -> Response:
    return empty_response(status=404)
