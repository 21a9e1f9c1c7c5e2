"""`python -m faults`: run the experiments, print a table, fail on any violation."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from faults.catalogue import EXPERIMENTS
from faults.load import NotHealedError
from faults.report import Result, table
from faults.trial import Plan
from faults.world import World, world
from service.dev.errors import EmbeddedServerError

_CACHE: Final = Path(".cache")
_LISTED: Final = "\n".join(
    f"  {name:5}{one.summary} ({one.rounds} rounds)" for name, one in EXPERIMENTS.items()
)
_DESCRIPTION: Final = """\
Runs the service as real processes on a real PostgreSQL and a real Apache Kafka, under seeded load, does them
harm, and lets an independent checker judge what callers were told against what the two servers hold then.
"""
_EPILOG: Final = f"""\
experiments:
{_LISTED}

columns:
  acknowledged  changes that were answered well
  lost          acknowledged or committed changes that are not there, or whose event is not
  phantom       events of what was not committed or not asked for
  reordered     keys whose events stand in the log in a wrong order
  duplicates    copies of events; a fault explains some, none without one
  drain         from the end of the load until Kafka had everything
  available     share of calls that were answered, 5xx not counted

The same seed makes the same calls and the same faults at the same moments, as far as two processors allow.
The exit code is 0 if no promise was broken, 1 if one was, 2 if an experiment could not be run.

examples:
  make faults
  python -m faults --only E4 --seed 7 --rounds 3
  python -m faults --only E1 --only E9 --short
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; returns the exit code."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    names = [name for name in EXPERIMENTS if not options.only or name in options.only]
    plans = {
        name: Plan(seed, options.rounds or (1 if options.short else EXPERIMENTS[name].rounds), options.short)
        for name in names
    }
    try:
        results = asyncio.run(_run(plans))
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(results))
    if any(one.failed or (one.figures is not None and not one.passed) for one in results):
        return 1
    return 2 if any(one.figures is None for one in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=EXPERIMENTS, metavar="E", help="run this one; may be given again"
    )
    parser.add_argument("--seed", type=int, help="of all that is random; a random one unless given")
    parser.add_argument("--rounds", type=_positive, help="of each experiment, instead of its own number")
    parser.add_argument("--short", action="store_true", help="one short round of each, as `make test` does")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a whole number from 1 is needed")
    return int(text)


async def _run(plans: dict[str, Plan]) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="projectkeys-faults-") as place:
        async with world(Path(place), cache=_CACHE.absolute(), say=_say) as made:
            return [await _one(made, name, plan) for name, plan in plans.items()]


async def _one(made: World, name: str, plan: Plan) -> Result:
    began = time.monotonic()
    _say(f"{name}, seed {plan.seed}, {plan.rounds} rounds: {EXPERIMENTS[name].summary}")
    try:
        result = Result(name, plan, await EXPERIMENTS[name].run(made, plan))
    except NotHealedError as error:
        result = Result(name, plan, None, str(error), failed=True)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the other experiments go on
        result = Result(name, plan, None, f"{type(error).__name__}: {error}")
    _say(f"{name} {'passed' if result.passed else 'did NOT pass'} after {time.monotonic() - began:.0f} s")
    if not result.passed:
        _say(table([result]))
    return result


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
