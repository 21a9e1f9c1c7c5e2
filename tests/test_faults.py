"""Runs one short round of each fault experiment on separate servers and checks the evidence."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.catalogue import EXPERIMENTS
from faults.crashing_service import LIFECYCLE_STEPS, STEPS
from faults.experiment import Plan, new_experiment
from faults.shared_servers import SharedServers, shared_servers

_SEED = 1


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedServers]:
    """The servers of this module."""
    directory, cache_dir = tmp_path_factory.mktemp("faults"), Path(__file__).parents[1] / ".cache"
    async with shared_servers(directory, cache_dir=cache_dir, report=print) as started:
        yield started


_EXCLUDED = {
    "E7": "three brokers",
    "E10": "root, to mount a volume",
    "E17": "a machine of its own",
    "E18": "a long time",
    "E21": "root, for a hosts file",
}
"""Experiments that need more than a test run has, and what; `make faults` and `make soak` run them."""


@pytest.mark.parametrize("step", [*STEPS, *LIFECYCLE_STEPS])
def test_each_step_at_which_a_replica_crashes_exists(step: str) -> None:
    """The short experiments crash at some of them only."""
    owner, function, _ = {**STEPS, **LIFECYCLE_STEPS}[step]
    assert callable(getattr(owner, function))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in _EXCLUDED])
async def test_no_invariant_is_violated(servers: SharedServers, name: str) -> None:
    """All acknowledged changes are stored and published, in order and without secrets."""
    result = await EXPERIMENTS[name].run(servers, Plan(_SEED, rounds=1, short=True))
    assert result.violations == []
    assert result.verdict.acknowledged > 0


async def test_a_defective_service_is_detected(servers: SharedServers) -> None:
    """Events published before the commit, without tombstones, with the secret; no fault is needed."""
    async with new_experiment(servers, Plan(_SEED), replicas=1) as experiment:
        [replica] = experiment.replicas
        replica.kill()
        replica.module = ("tests.sabotage",)
        replica.start()
        await replica.wait_until_ready()
        await experiment.wait_until_balanced()
        async with experiment.under_load() as load:
            await load.wait_for_acknowledged(150)
        result = await experiment.check(duplicates=0)
    assert {"I3", "I4", "I8", "bound"} <= {violation.invariant for violation in result.violations}
    assert result.verdict.count("I1") == 0
