"""The results of a run: its table, the machine, and the JSON file that documentation is generated from."""

import os
import platform
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson

from bench.report import Goal, Row, table
from projectkeys_servers.jars import read_jar_list
from testkit.processes import ROOT

DIRECTORY: Final = Path(".data")
STORED: Final = ROOT / "docs" / "performance.json"
_LIBRARIES: Final = ("aiohttp", "uvloop", "asyncpg", "aiokafka")


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a run, and everything that they depend on.

    Attributes:
        date: The day of the run.
        machine: Processors, interpreter and how it was built, versions; no path of the machine.
        size: The sizes of the run: rounds, seconds, keys.
        rows: The rows of the table.
    """

    date: str
    machine: str
    size: str
    rows: Sequence[Row]

    def __str__(self) -> str:
        return f"{table(self.rows)}\n\n{self.machine}; {self.size}"


def new_results(rows: Sequence[Row], *, size: str, load_before: float) -> Results:
    """Return the results of a run that ends now on this machine.

    Args:
        rows: The rows of the table.
        size: The sizes of the run.
        load_before: The load average before the run.
    """
    config_args = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    kafka = next(jar.coordinate.split(":")[2] for jar in read_jar_list() if ":kafka_2" in jar.coordinate)
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    machine = (
        f"{len(os.sched_getaffinity(0))} processors ({platform.machine()}, load {load_before:.1f} before), "
        f"Python {platform.python_version()} ({interpreter_build(config_args)}), {libraries}, PostgreSQL 18, "
        f"Kafka {kafka}"
    )
    return Results(datetime.now(UTC).date().isoformat(), machine, size, rows)


def interpreter_build(config_args: str) -> str:
    """Return the build options of Python that change its speed: they make a difference of a tenth and more."""
    options = {"PGO": "--enable-optimizations", "LTO": "--with-lto", "shared library": "--enable-shared"}
    return ", ".join(f"{'with' if option in config_args else 'without'} {name}" for name, option in options.items())


def write_results(file: Path, results: object) -> None:
    """Write results, or several by name, as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_results(file: Path) -> Results:
    """Read the results of one run."""
    return _results(orjson.loads(file.read_bytes()))


def read_stored() -> dict[str, Results]:
    """Return the results that the documentation shows, by name: `bench` and, if there are any, `scale`."""
    return {name: _results(decoded) for name, decoded in orjson.loads(STORED.read_bytes()).items()}


def _results(decoded: dict[str, Any]) -> Results:
    return Results(**{**decoded, "rows": [_row(row) for row in decoded["rows"]]})


def _row(decoded: dict[str, Any]) -> Row:
    goals = {name: Goal(**decoded[name]) if decoded[name] else None for name in ("goal", "cost_goal")}
    return Row(**{**decoded, **goals})
