"""E17: more clients than the service can serve, and then as many as before."""

import asyncio
import time
from typing import Final

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Outcome
from faults.load import Load, LoadProfile, run_load
from faults.shared_servers import SharedServers

_OVERLOAD_CLIENTS: Final = 400
_PEAK_CLIENTS: Final = 40
_MIN_GOODPUT: Final = 0.5
"""Share of the peak, below which the service collapsed. The clients share the processors with it."""

_CALL_BOUND: Final = 11.0
_RECOVERY: Final = 5.0  # seconds
_LATENCY_FACTOR: Final = 3.0
"""Tolerated increase of the latency; a shared machine measures imprecisely."""


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Accepted requests complete in time, others are refused; the throughput does not collapse."""
    seconds = 2.0 if plan.short else 20.0
    async with new_experiment(
        servers, plan, replicas=1, profile=LoadProfile(clients=4), MAX_REQUESTS="100"
    ) as experiment:
        load = experiment.load
        async with experiment.under_load():
            await asyncio.sleep(seconds / 2)
            began, before = time.monotonic(), load.latency(quantile=0.5)
            await _compare_goodput(experiment, seconds)
            await asyncio.sleep(_RECOVERY)
            recovered_at = time.monotonic()
            await asyncio.sleep(seconds / 2)
            after = load.latency(since=recovered_at, quantile=0.5)
        experiment.expect_within(after, max(_LATENCY_FACTOR * before, 0.05), "the median after the overload")
        slowest = load.latency(since=began)
        experiment.expect_within(slowest, _CALL_BOUND, "p99 of accepted requests")
        experiment.metrics["p99"] = f"{slowest:.2f} s"
        experiment.expect_only_503()
        return await experiment.check(duplicates=0)


async def _compare_goodput(experiment: Experiment, seconds: float) -> None:
    peak = await _goodput(experiment, _PEAK_CLIENTS, seconds)
    overload = await _goodput(experiment, _OVERLOAD_CLIENTS, seconds)
    experiment.metrics["changes per second at peak and in overload"] = f"{peak:.0f} and {overload:.0f}"
    if not experiment.plan.short:  # with other programs on the machine the two are not comparable
        experiment.expect(
            overload >= _MIN_GOODPUT * peak, f"the goodput fell from {peak:.0f} to {overload:.0f} per second"
        )


async def _goodput(experiment: Experiment, clients: int, seconds: float) -> float:
    """Return the successes per second of further clients; their requests are checked with the others."""
    load = Load(
        f"{experiment.plan.seed}-{clients}",
        experiment.load.ports,
        experiment.deployment.tenants,
        experiment.deployment.token,
        # Without a wait after a 503 this process would use all of the processors.
        LoadProfile(clients=clients, interval=0.0, retry_after=0.4),
    )
    began = time.monotonic()
    async with run_load(load):
        await asyncio.sleep(seconds)
        goodput = sum(call.outcome is Outcome.OK for call in load.calls) / (time.monotonic() - began)
    experiment.load.calls.extend(load.calls)
    return goodput
