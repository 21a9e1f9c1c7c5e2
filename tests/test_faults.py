"""A short round of each fault experiment, judged by the checker; on servers of their own, which are harmed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.catalogue import EXPERIMENTS
from faults.trial import Plan
from faults.world import World, world

_SEED = 1


@pytest.fixture(scope="module")
async def harmed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The servers of this module."""
    place, cache = tmp_path_factory.mktemp("faults"), Path(__file__).parents[1] / ".cache"
    async with world(place, cache=cache, say=print) as made:
        yield made


@pytest.mark.parametrize("name", EXPERIMENTS)
async def test_no_promise_is_broken(harmed: World, name: str) -> None:
    """Whatever is killed, halted or cut off."""
    figures = await EXPERIMENTS[name].run(harmed, Plan(_SEED, rounds=1, short=True))
    assert figures.violations == []
    assert figures.verdict.acknowledged > 0
