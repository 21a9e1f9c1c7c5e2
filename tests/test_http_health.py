"""`/_health/` on the port of the API: the readiness of the replica, for load balancers that reach no other port."""

import asyncio
from typing import Any

from aiohttp.test_utils import make_mocked_request

from service.http.health import PATH, _HealthHandler
from service.http.ops import Health
from tests.http_service import COMMON_HEADERS, Site


async def test_a_ready_replica_responds_with_200_without_a_token(site: Site) -> None:
    """To GET and HEAD; with the common headers."""
    response = await site.send("GET", PATH, token="")
    assert (response.status, response.body) == (200, {"status": "ok"})
    assert COMMON_HEADERS.items() <= dict(response.headers).items()
    assert (await site.send("HEAD", PATH, token="")).status == 200
    assert (await site.send("OPTIONS", PATH, token="")).headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (await site.send("POST", PATH, token="")).status == 405


class _Checks:
    """The checks of a process, which are counted."""

    def __init__(self, postgres: str) -> None:
        self.postgres = postgres
        self.count = 0

    async def __call__(self) -> dict[str, str]:
        self.count += 1
        await asyncio.sleep(0)
        return {"postgres": self.postgres, "kafka": "unavailable: x"}


async def _nothing() -> None:
    pass


async def test_readiness_is_checked_once_for_many_requests() -> None:
    """Requests without a token cannot occupy Postgres; after a second the next request checks again."""
    now = [1000.0]
    checks = _Checks("ok")
    handler = _HealthHandler(Health(checks, frozenset({"postgres"}), _nothing), clock=lambda: now[0])
    request: Any = make_mocked_request("GET", PATH)
    responses = await asyncio.gather(*(handler.respond(request) for _ in range(20)))
    assert ({response.status for response in responses}, checks.count) == ({200}, 1)
    checks.postgres = "unavailable"
    assert (await handler.respond(request)).status == 200
    now[0] += 1.0
    assert ((await handler.respond(request)).status, checks.count) == (503, 2)


async def test_a_stopping_replica_is_not_ready_at_once() -> None:
    """Although the last check is still valid."""
    health = Health(_Checks("ok"), frozenset({"postgres"}), _nothing)
    handler = _HealthHandler(health)
    request: Any = make_mocked_request("GET", PATH)
    assert (await handler.respond(request)).status == 200
    health.stopping = True
    assert (await handler.respond(request)).status == 503
