"""`python -m bench.scale`: load many keys, run the measurements, print a table, write it as JSON."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.arguments import add_json_option, positive
from bench.programs import BenchError
from bench.report import Row
from bench.results import Results, new_results, write_results
from bench.scale import bulk, latency
from bench.scale.loading import Sizes
from bench.scale.services import SMALL, Services, new_services
from projectkeys_servers.errors import EmbeddedServerError
from testkit.replica import ReplicaError

_CACHE: Final = Path(".cache")
_DESCRIPTION: Final = f"""\
Loads keys by COPY and measures a service with them beside a service with {SMALL.keys} keys, in turn on the same
servers. With the default sizes it takes some hours, about 25 GB in DIRECTORY and 2 GB of memory.
"""
_EPILOG: Final = """\
parts, in this order:
  latency     p50 and p99 of a create, a read, a first page and a deep page of the large project
  backlog     publishing of the events of an outage of Kafka
  churn       creates, until as many events have passed the outbox: sizes of the outbox and of the service's memory
  replay      events replay --all, then events reconcile
  deletion    the deletion of the large project

examples:
  make bench-scale
  python -m bench.scale --keys 100000 --projects 1000 --large-project 10000 --backlog 20000 --churn 20000
  python -m bench.scale --only latency
"""

_PARTS: Final[Mapping[str, Callable[[Services, argparse.Namespace], Awaitable[list[Row]]]]] = {
    "latency": lambda services, options: latency.measure(services, rounds=options.rounds, seconds=options.seconds),
    "backlog": lambda services, options: bulk.backlog(services, events=options.backlog),
    "churn": lambda services, options: bulk.churn(services, events=options.churn),
    "replay": lambda services, _options: bulk.replay(services),
    "deletion": lambda services, _options: bulk.deletion(services),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected parts; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.large_project > options.keys:
        parser.error("--large-project: at most as many keys as --keys")
    try:
        results, failures = asyncio.run(_bench(options))
    except (BenchError, ReplicaError, EmbeddedServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(results)
    write_results(options.json, results)
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    numbers = {
        "keys": (10_000_000, "keys to load"),
        "projects": (100_000, "projects to load"),
        "large-project": (1_000_000, "keys of the largest project"),
        "backlog": (1_000_000, "events of the outage"),
        "churn": (1_080_000, "events of the churn: an hour at 300 per second"),
        "rounds": (5, "counted rounds of the latency"),
        "seconds": (5, "seconds per measurement of the latency"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(
            f"--{name}", type=positive, default=default, metavar="N", help=f"{text} (default {default})"
        )
    parser.add_argument("--only", action="append", choices=_PARTS, metavar="PART", help="run this part; repeatable")
    parser.add_argument(
        "--directory", type=Path, metavar="DIRECTORY", help="parent of the data directory (default: TMPDIR)"
    )
    add_json_option(parser, "bench-scale.json")
    return parser


async def _bench(options: argparse.Namespace) -> tuple[Results, list[str]]:
    """Return the results of the parts that succeeded, which took hours, and the failures of the others."""
    load_before, rows, failures = os.getloadavg()[0], list[Row](), list[str]()
    sizes = Sizes(options.keys, options.projects, options.large_project)
    with tempfile.TemporaryDirectory(prefix="projectkeys-scale-", dir=options.directory) as directory:
        async with new_services(Path(directory), sizes, cache_dir=_CACHE.absolute(), report=_report) as services:
            rows += await bulk.size(services)
            for name, part in _PARTS.items():
                if options.only is None or name in options.only:
                    _report(f"Measuring {name} ...")
                    try:
                        rows += await part(services, options)
                    except BenchError as error:
                        failures.append(f"{name}: {error}")
    size = (
        f"{sizes.keys} keys, {sizes.projects} projects, {sizes.large_project} keys in one of them; "
        f"{options.rounds} rounds of {options.seconds} s"
    )
    return new_results(rows, size=size, load_before=load_before), failures


def _report(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
