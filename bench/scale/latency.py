"""The latency of single requests with many keys, beside that with few."""

from collections.abc import Mapping, Sequence
from typing import Final

from tqdm import tqdm

from bench.calculations import ratios
from bench.measurements import Metrics, measure_load
from bench.report import COSTS, Goal, Row
from bench.scale.loading import Sample
from bench.scale.services import Services

_CONNECTIONS: Final = 8
"""Few, so that latency is not time in queues."""

_GOAL: Final = Goal(1.1, at_least=False)


def _requests(sample: Sample) -> Mapping[str, tuple[Sequence[str], int]]:
    return {
        "POST key": ([sample.create], 201),
        "GET key": (sample.keys, 200),
        "GET first page": ([sample.first_page], 200),
        "GET deep page": (sample.deep_pages, 200),
    }


async def measure(services: Services, *, rounds: int, seconds: int) -> list[Row]:
    """Measure both services in turn; return p50 and p99 in milliseconds, with ratios of p50."""
    sides = (services.large, services.small)
    found: dict[tuple[str, str], list[Metrics]] = {}
    steps = (rounds + 1) * len(sides) * len(_requests(services.large.sample))
    with tqdm(total=steps, unit="measurement", desc="latency", leave=False, disable=None) as bar:
        for number in range(rounds + 1):
            for name in _requests(services.large.sample):
                for side in sides:
                    requests, expected = _requests(side.sample)[name]
                    metrics = await measure_load(
                        services.servers,
                        side.service,
                        requests,
                        seconds=seconds if number else 1,
                        expected=expected,
                        connections=_CONNECTIONS,
                    )
                    if number:  # the first round is a warm-up
                        found.setdefault((name, side.url), []).append(metrics)
                    bar.update()
    return [row for name in _requests(services.large.sample) for row in _rows(name, services, found)]


def _rows(name: str, services: Services, found: Mapping[tuple[str, str], Sequence[Metrics]]) -> list[Row]:
    large, small = [found[name, side.url] for side in (services.large, services.small)]

    few = f"  with {services.small.sizes.keys} keys"
    rows = []
    for quantile, goal in (("p50", _GOAL), ("p99", None)):
        values = [[each[quantile] for each in side] for side in (large, small)]
        rows += [
            Row(f"{name}, {quantile}, ms", values[0], costs=_costs(large)),
            Row(few, values[1], ratios=ratios(*values), goal=goal, costs=_costs(small)),
        ]
    return rows


def _costs(rounds: Sequence[Metrics]) -> Mapping[str, Sequence[float]]:
    return {cost: [metrics[cost] for metrics in rounds] for cost in COSTS}
