"""`python -m bench`: measure everything, print one table."""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tqdm import tqdm

from bench.measures import CONNECTIONS, Figures
from bench.parts import PARTS
from bench.processes import BenchError
from bench.report import table
from bench.stage import Stage, stage
from service.dev.errors import EmbeddedServerError
from service.dev.jars import listed_jars

_CACHE: Final = Path(".cache")
_PARTS_HELP: Final = "\n".join(f"  {name:12}{part.summary}" for name, part in PARTS.items())
_DESCRIPTION: Final = """\
Measures the service beside what bounds it, in one run on this machine: PostgreSQL, Apache Kafka, the
service (`projectkeys serve`, with its log), its rivals and the load generator all share its processors.
"""
_EPILOG: Final = f"""\
parts:
{_PARTS_HELP}

Each round measures every part once, ours and the rival's in turn, so that what disturbs the machine
disturbs both; a ratio is made within its round. The first round warms up and is not counted.
The columns in µs are processor time for one request: of the service or its rival (server), the load
generator or pgbench (client; with its connecting), Postgres and Kafka. {CONNECTIONS} connections, each with one
request under way.

examples:
  make bench
  python -m bench --only creates --rounds 3
  python -m bench --only get --only list --seconds 1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; returns the exit code."""
    options = _parser().parse_args(arguments)
    names = options.only or list(PARTS)
    try:
        print(asyncio.run(_bench(names, rounds=options.rounds, seconds=options.seconds)))
    except (BenchError, EmbeddedServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=_positive, default=5, metavar="N", help="counted rounds (default 5)")
    parser.add_argument(
        "--seconds", type=_positive, default=3, metavar="N", help="seconds of one measurement (default 3)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        metavar="PART",
        help="measure this part; may be given again",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a whole number from 1 is needed")
    return int(text)


async def _bench(names: Sequence[str], *, rounds: int, seconds: int) -> str:
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="projectkeys-bench-") as place:
        async with stage(Path(place), cache=_CACHE.absolute(), report=_report) as ready:
            found = await _rounds(ready, names, rounds=rounds, seconds=seconds)
    rows = [row for name in names for row in PARTS[name].rows(found[name])]
    return f"{table(rows)}\n\n{_machine(load_before)}; {rounds} rounds of {seconds} s"


async def _rounds(
    ready: Stage, names: Sequence[str], *, rounds: int, seconds: int
) -> dict[str, list[list[Figures]]]:
    """Of each part, of each counted round, what its measurements found."""
    found: dict[str, list[list[Figures]]] = {name: [] for name in names}
    steps = (rounds + 1) * sum(len(PARTS[name].measures) for name in names)
    with tqdm(total=steps, unit="measurement", leave=False, disable=None) as bar:
        for number in range(rounds + 1):
            for name in names:
                bar.set_description(f"round {number}, {name}" if number else f"warming up, {name}")
                figures = []
                for measure in PARTS[name].measures:
                    figures.append(await measure(ready, seconds if number else 1))
                    bar.update()
                if number:
                    found[name].append(figures)
    return found


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _machine(load_before: float) -> str:
    kafka = next(jar.coordinate.split(":")[2] for jar in listed_jars() if ":kafka_2" in jar.coordinate)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "asyncpg", "aiokafka"))
    return (
        f"{len(os.sched_getaffinity(0))} processors ({platform.machine()}, load {load_before:.1f} before), "
        f"Python {platform.python_version()}, {libraries}, PostgreSQL 18, Kafka {kafka}"
    )


if __name__ == "__main__":
    sys.exit(main())
