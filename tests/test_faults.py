"""A short round of each fault experiment, judged by the checker; on servers of their own, which are harmed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.catalogue import EXPERIMENTS
from faults.trial import Plan, shared, trial, under_load
from faults.world import World, world

_SEED = 1


@pytest.fixture(scope="module")
async def harmed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The servers of this module."""
    place, cache = tmp_path_factory.mktemp("faults"), Path(__file__).parents[1] / ".cache"
    async with world(place, cache=cache, say=print) as made:
        yield made


_NOT_HERE = {
    "E7": "three brokers",
    "E10": "root, to mount a volume",
    "E17": "a machine of its own",
    "E18": "a long time",
    "E21": "root, for a file of names",
}
"""What some need that a newcomer's test run has not; `make faults` and `make soak` have them."""


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in _NOT_HERE])
async def test_no_promise_is_broken(harmed: World, name: str) -> None:
    """Whatever is killed, halted or cut off."""
    figures = await EXPERIMENTS[name].run(harmed, Plan(_SEED, rounds=1, short=True))
    assert figures.violations == []
    assert figures.verdict.acknowledged > 0


async def test_a_service_that_breaks_its_promises_is_caught(harmed: World) -> None:
    """Published before the commit, without tombstones, with the secret in the event; no fault is needed for it."""
    async with trial(harmed, Plan(_SEED), replicas=1) as one:
        [replica] = one.replicas
        replica.kill()
        replica.module = ("tests.sabotage",)
        replica.start()
        await replica.ready()
        await shared(one.replicas)
        async with under_load(one) as load:
            await load.grows(150)
        figures = await one.judged(duplicates=0)
    assert {"I3", "I4", "I8", "bound"} <= {one.invariant for one in figures.violations}
    assert figures.verdict.count("I1") == 0
