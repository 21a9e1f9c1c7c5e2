"""The latency of one tenant's creates, alone and beside the load of another tenant.

The latency is measured by a process of its own: `python -m bench.fairness` reads a `LatencyPlan` as JSON and prints a
`Latencies`.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import orjson

from bench import worker
from bench.calculations import quantile, ratios
from bench.closed_loop import Plan, run_load
from bench.deployment import MeasuredReplica
from bench.load_client import LoadConnection, ResponseError, connect
from bench.programs import run_worker
from bench.report import Row
from bench.setup import Setup
from testkit.http_client import request_bytes

_CONNECTIONS: Final = 32
"""Connections of the other tenant that create keys; as many change keys."""

_CHANGED_KEYS: Final = 32
"""Keys of the other tenant that are changed in turn."""

_PAUSE: Final = 0.005
"""Seconds between a response and the next create: at most one create is in progress."""

_WARM_UP: Final = 0.5
"""Seconds of load before the first create is measured."""

_WORKER_TIMEOUT: Final = 40.0
"""Seconds in addition to those of the measurement."""

_RESPONSE_TIMEOUT: Final = 40.0
"""Seconds; far more than a response takes."""

_MILLI: Final = 1e3


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """The create to send over one connection, and the duration in seconds."""

    port: int
    request: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from each request to its response."""

    seconds: Sequence[float]


async def _latencies(plan: LatencyPlan) -> Latencies:
    loop, prepared, seconds = asyncio.get_running_loop(), plan.request.encode(), list[float]()
    response: asyncio.Future[None]

    def on_response(_connection: LoadConnection, _body: bytes) -> None:
        response.set_result(None)

    def on_failure(error: ResponseError) -> None:
        response.set_exception(error)

    connection = LoadConnection(expected=201, on_response=on_response, on_failure=on_failure)
    await connect(plan.port, connection)
    deadline = time.perf_counter() + plan.seconds
    while (began := time.perf_counter()) < deadline:
        response = loop.create_future()
        connection.send(prepared)
        await asyncio.wait_for(response, _RESPONSE_TIMEOUT)
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(_PAUSE)
    connection.close()
    return Latencies(seconds)


async def measure(setup: Setup, seconds: int) -> Mapping[str, float]:
    """Measure p50 and p99 in milliseconds, alone and beside the other tenant's load, and that load's rates."""
    service, plan = setup.service, LatencyPlan(setup.service.port, setup.requests.create, seconds)
    alone = Latencies(**await run_worker("bench.fairness", plan, timeout=seconds + _WORKER_TIMEOUT))
    create, changes = await _other_tenant(service)
    duration = seconds + 2 * _WARM_UP + 1  # one second for the start of the measuring process
    loads = asyncio.gather(
        *(
            run_load(Plan(service.port, requests, expected, _CONNECTIONS, duration))
            for requests, expected in (([create], 201), (changes, 200))
        )
    )
    await asyncio.sleep(_WARM_UP)
    beside = Latencies(**await run_worker("bench.fairness", plan, timeout=seconds + _WORKER_TIMEOUT))
    found = await loads
    await service.wait_until_published()
    return {
        f"{name} p{percent}": quantile(seen.seconds, percent / 100) * _MILLI
        for name, seen in (("alone", alone), ("beside", beside))
        for percent in (50, 99)
    } | {"creates": found[0].responses / found[0].seconds, "changes": found[1].responses / found[1].seconds}


async def _other_tenant(service: MeasuredReplica) -> tuple[str, list[str]]:
    """Create an organization with keys; return its request for a create, and its requests that change the keys."""
    slug = f"other-{uuid4().hex[:8]}"
    await service.post("/api/0/organizations/", {"name": slug, "slug": slug})
    body = {"name": "written", "defaultKey": False}
    await service.post(f"/api/0/organizations/{slug}/projects/", body)
    path, token = f"/api/0/projects/{slug}/written/keys/", service.token
    keys = [(await service.post(path, {}))["id"] for _ in range(_CHANGED_KEYS)]
    changes = [
        request_bytes("PUT", f"{path}{key}/", token=token, body=orjson.dumps({"name": name})).decode()
        for name in ("One", "Two")
        for key in keys
    ]
    return request_bytes("POST", path, token=token, body=b'{"name":"Fabulous Key"}').decode(), changes


def rows(rounds: Sequence[Sequence[Mapping[str, float]]]) -> list[Row]:
    """Return the rows of the table."""

    def values(name: str) -> list[float]:
        return [metrics[name] for (metrics,) in rounds]

    return [
        Row("POST key of one tenant alone, p50, ms", values("alone p50")),
        Row(
            "  beside another tenant's load, p50, ms",
            values("beside p50"),
            ratios=ratios(values("beside p50"), values("alone p50")),
        ),
        Row("POST key of one tenant alone, p99, ms", values("alone p99")),
        Row(
            "  beside another tenant's load, p99, ms",
            values("beside p99"),
            ratios=ratios(values("beside p99"), values("alone p99")),
        ),
        Row("  the other tenant's creates, per second", values("creates")),
        Row("  the other tenant's changes, per second", values("changes")),
    ]


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(LatencyPlan, _latencies)


if __name__ == "__main__":
    sys.exit(main())
