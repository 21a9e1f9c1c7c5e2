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
from faults.errors import NotRecoveredError
from faults.experiment import Plan
from faults.report import Result, table
from faults.shared_servers import SharedServers, shared_servers
from projectkeys_servers.errors import EmbeddedServerError

_CACHE: Final = Path(".cache")
_LIST: Final = "\n".join(f"  {name:5}{entry.summary} ({entry.rounds} rounds)" for name, entry in EXPERIMENTS.items())
_DESCRIPTION: Final = """\
Runs the service as real processes on a real PostgreSQL and a real Apache Kafka under seeded load, causes faults,
and compares the responses to clients with the contents of both servers by an independent checker.
"""
_EPILOG: Final = f"""\
experiments:
{_LIST}

columns:
  acknowledged  successful changes
  lost          acknowledged or committed changes that are missing, or whose event is missing
  phantom       events of changes that were not committed or not requested
  reordered     keys whose events are in a wrong order in the topic
  duplicates    copies of events; a fault explains some, none without a fault
  drain         time from the end of the load until every event is published
  available     share of requests with a response other than 5xx

The same seed makes the same requests and the same faults at the same times, as far as scheduling allows.
Exit code: 0 if no invariant was violated, 1 if one was, 2 if an experiment could not be run.

examples:
  make faults
  python -m faults --only E4 --seed 7 --rounds 3
  python -m faults --only E1 --only E9 --short
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected experiments; return the exit code."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    names = [name for name in EXPERIMENTS if not options.only or name in options.only]
    plans = {
        name: Plan(seed, options.rounds or (1 if options.short else EXPERIMENTS[name].rounds), options.short)
        for name in names
    }
    try:
        results = asyncio.run(_run_all(plans))
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(results))
    if any(result.failed for result in results):
        return 1
    return 2 if any(result.outcome is None for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=EXPERIMENTS, metavar="E", help="run this experiment; repeatable"
    )
    parser.add_argument("--seed", type=int, help="random seed (default: random)")
    parser.add_argument("--rounds", type=_positive, help="rounds of each experiment (default: see the list)")
    parser.add_argument("--short", action="store_true", help="one short round of each, as `make test` does")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


async def _run_all(plans: dict[str, Plan]) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="projectkeys-faults-") as directory:
        async with shared_servers(Path(directory), cache_dir=_CACHE.absolute(), report=_report) as servers:
            return [await _run(servers, name, plan) for name, plan in plans.items()]


async def _run(servers: SharedServers, name: str, plan: Plan) -> Result:
    started_at = time.monotonic()
    _report(f"{name}, seed {plan.seed}, {plan.rounds} rounds: {EXPERIMENTS[name].summary}")
    try:
        result = Result(name, plan, await EXPERIMENTS[name].run(servers, plan))
    except NotRecoveredError as error:
        result = Result(name, plan, None, str(error), not_recovered=True)
    except Exception as error:  # noqa: BLE001 -- the other experiments run whatever the error is
        result = Result(name, plan, None, f"{type(error).__name__}: {error}")
    _report(f"{name} {'passed' if result.passed else 'did NOT pass'} after {time.monotonic() - started_at:.0f} s")
    if not result.passed:
        _report(table([result]))
    return result


def _report(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
