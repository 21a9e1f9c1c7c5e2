"""`python -m bench`: run the measurements, print a table, write it as JSON."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tqdm import tqdm

from bench.arguments import add_json_option, positive
from bench.measurements import CONNECTIONS, Metrics
from bench.parts import PARTS
from bench.programs import BenchError
from bench.results import Results, new_results, write_results
from bench.setup import Setup, new_setup
from projectkeys_servers.errors import EmbeddedServerError
from testkit.replica import ReplicaError

_CACHE: Final = Path(".cache")
_PARTS_HELP: Final = "\n".join(f"  {name:12}{part.summary}" for name, part in PARTS.items())
_DESCRIPTION: Final = """\
Measures the service beside baselines in one run. PostgreSQL, Apache Kafka, the service (`projectkeys serve`, with
its log), the baselines and the load generator share the processors of this machine.
"""
_EPILOG: Final = f"""\
parts:
{_PARTS_HELP}

Each round runs every measurement once, the service and its baseline in turn, so that a disturbance of the machine
affects both; a ratio is the service's value divided by the baseline's of the same round. The first round is a warm-up
and is not counted. A rate counts only if the outbox is empty afterwards; otherwise the run fails.
Columns in µs: processor time per request of the service or its baseline (server), the load generator or pgbench
(client, including its connects), Postgres and Kafka; "µs ratio" compares the servers. {CONNECTIONS} connections with
one request each.

examples:
  make bench
  python -m bench --only creates --rounds 3
  python -m bench --only get --only list --seconds 1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected parts; return the exit code."""
    options = _parser().parse_args(arguments)
    names = options.only or list(PARTS)
    try:
        results = asyncio.run(_bench(names, rounds=options.rounds, seconds=options.seconds))
    except (BenchError, ReplicaError, EmbeddedServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(results)
    write_results(options.json, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="counted rounds (default 5)")
    parser.add_argument(
        "--seconds", type=positive, default=3, metavar="N", help="seconds per measurement (default 3)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        metavar="PART",
        help="run this part; repeatable",
    )
    add_json_option(parser, "bench.json")
    return parser


async def _bench(names: Sequence[str], *, rounds: int, seconds: int) -> Results:
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="projectkeys-bench-") as directory:
        async with new_setup(Path(directory), cache_dir=_CACHE.absolute(), report=_report) as setup:
            metrics = await _rounds(setup, names, rounds=rounds, seconds=seconds)
    rows = [row for name in names for row in PARTS[name].rows(metrics[name])]
    return new_results(rows, size=f"{rounds} rounds of {seconds} s", load_before=load_before)


async def _rounds(setup: Setup, names: Sequence[str], *, rounds: int, seconds: int) -> dict[str, list[list[Metrics]]]:
    """Return the metrics by part, counted round and measurement."""
    found: dict[str, list[list[Metrics]]] = {name: [] for name in names}
    steps = (rounds + 1) * sum(len(PARTS[name].measurements) for name in names)
    with tqdm(total=steps, unit="measurement", leave=False, disable=None) as bar:
        for number in range(rounds + 1):
            for name in names:
                bar.set_description(f"round {number}, {name}" if number else f"warm-up, {name}")
                metrics = []
                for measure in PARTS[name].measurements:
                    metrics.append(await measure(setup, seconds if number else 1))
                    bar.update()
                if number:
                    found[name].append(metrics)
    return found


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
