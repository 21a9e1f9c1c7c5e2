"""Creates per second when clients send far more requests than the service can process."""

from collections.abc import Mapping, Sequence
from typing import Final

from bench.calculations import ratios
from bench.closed_loop import Plan, run_load
from bench.report import Goal, Row
from bench.setup import Setup
from service.settings import Settings

_PEAK_CONNECTIONS: Final = 64
_MAX_REQUESTS: Final = Settings().max_requests
_FACTORS: Final = (1, 2, 10)
"""Connections as multiples of the concurrency limit; a refused request is sent again at once."""


async def measure(setup: Setup, seconds: int) -> Mapping[str, float]:
    """Measure the peak, then once, twice and ten times as many connections as the concurrency limit."""
    metrics: dict[str, float] = {}
    loads = {"peak": _PEAK_CONNECTIONS} | {f"{factor} x": factor * _MAX_REQUESTS for factor in _FACTORS}
    for name, connections in loads.items():
        requests = [setup.requests.create]
        plan = Plan(setup.service.port, requests, 201, connections, seconds, refusals=True)
        load = await run_load(plan)
        await setup.service.wait_until_published()
        metrics |= {
            name: load.responses / load.seconds,
            f"{name} p99": load.p99,
            f"{name} refused": load.refused / load.seconds,
        }
    return metrics


def rows(rounds: Sequence[Sequence[Mapping[str, float]]]) -> list[Row]:
    """Return the rows of the table."""

    def values(name: str) -> list[float]:
        return [metrics[name] for (metrics,) in rounds]

    lines = [Row(f"POST key, per second, {_PEAK_CONNECTIONS} connections", values("peak"))]
    for name in (f"{factor} x" for factor in _FACTORS):
        lines += [
            Row(
                f"  {name} {_MAX_REQUESTS} connections",
                values(name),
                ratios=ratios(values(name), values("peak")),
                goal=Goal(0.8),
            ),
            Row("    refused per second", values(f"{name} refused")),
            Row("    accepted, p99, s", values(f"{name} p99"), goal=Goal(10, at_least=False)),
        ]
    return lines
