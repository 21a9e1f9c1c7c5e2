"""The operators' port: is it alive, is it ready, what are its figures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


@dataclass(slots=True)
class Health:
    """What readiness rests on.

    ``checks`` gives for each dependency a text, ``"ok"`` or what is wrong; ``needed`` names those that make the
    process unready. ``stopping`` makes it unready whatever they say. ``before_scrape`` looks at what is not
    counted as it happens.
    """

    checks: Callable[[], Awaitable[dict[str, str]]]
    needed: frozenset[str]
    before_scrape: Callable[[], Awaitable[None]]
    stopping: bool = False


HEALTH: Final = web.AppKey("health", Health)
REGISTRY: Final = web.AppKey("registry", CollectorRegistry)


def create_ops_app(health: Health, registry: CollectorRegistry) -> web.Application:
    """An application of its own, so that nothing on the API's port leads here."""
    app = web.Application()
    app[HEALTH] = health
    app[REGISTRY] = registry
    app.add_routes([web.get("/livez", _livez), web.get("/readyz", _readyz), web.get("/metrics", _metrics)])
    return app


async def _livez(_request: web.Request) -> web.Response:
    """The loop turns; nothing else is asked, for a restart mends no dependency."""
    return _json({"status": "ok"}, 200)


async def _readyz(request: web.Request) -> web.Response:
    health = request.app[HEALTH]
    if health.stopping:
        return _json({"status": "stopping"}, 503)
    checks = await health.checks()
    ready = all(checks.get(name) == "ok" for name in health.needed)
    return _json({"status": "ok" if ready else "unready", "checks": checks}, 200 if ready else 503)


async def _metrics(request: web.Request) -> web.Response:
    await request.app[HEALTH].before_scrape()
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[REGISTRY]), headers={"Content-Type": content_type})


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "projectkeys"},
    )
