"""One short round of the fault experiments, each judged by the checker."""

from pathlib import Path

import pytest

from faults.catalogue import EXPERIMENTS
from faults.trial import Plan
from faults.world import World
from service.dev.servers import Servers

_SEED = 1


@pytest.fixture
def world(servers: Servers, tmp_path: Path) -> World:
    """The run's own servers, for experiments that leave them as they were."""
    return World(servers, tmp_path, Path(__file__).parents[1] / ".cache", print)


@pytest.mark.parametrize("name", ["E1"])
async def test_no_promise_is_broken(world: World, name: str) -> None:
    """Whatever is killed, halted or cut off."""
    figures = await EXPERIMENTS[name].run(world, Plan(_SEED, rounds=1, short=True))
    assert figures.violations == []
    assert figures.verdict.acknowledged > 0
