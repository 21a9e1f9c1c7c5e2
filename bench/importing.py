"""The time in which `import` inserts keys into the database of the running service, which publishes them."""

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from bench.measurements import Metrics
from bench.programs import run_program
from bench.report import Goal, Row
from bench.setup import Setup

KEYS: Final = 100_000
_PROJECTS: Final = 100
_FIRST_PROJECT: Final = 1_000_000
_TIMEOUT: Final = 600.0
"""Seconds; far more than an import takes."""


async def measure(setup: Setup, seconds: int) -> Metrics:
    """Import `KEYS` new keys in a process of its own; the number of seconds of the run has no effect."""
    del seconds
    with TemporaryDirectory() as directory:
        path = Path(directory) / "keys.json"
        path.write_bytes(orjson.dumps([*_tenants(), *map(_key, range(1, KEYS + 1))]))
        began = time.perf_counter()
        await run_program(
            *(sys.executable, "-m", "service", "import", str(path), "--apply"),
            environment={"DATABASE_URL": setup.servers.postgres.url},
            timeout=_TIMEOUT,
        )
        elapsed = time.perf_counter() - began
    await setup.service.wait_until_published()
    return {"seconds": elapsed}


def _tenants() -> list[dict[str, Any]]:
    projects = [
        _item("project", _FIRST_PROJECT + number, slug=f"imported-{number}", organization=_FIRST_PROJECT)
        for number in range(_PROJECTS)
    ]
    return [_item("organization", _FIRST_PROJECT, slug="imported"), *projects]


def _key(number: int) -> dict[str, Any]:
    project = _FIRST_PROJECT + number % _PROJECTS
    halves = {"public_key": secrets.token_hex(16), "secret_key": secrets.token_hex(16)}
    return _item("projectkey", number, project=project, label=f"Key {number}", **halves)


def _item(model: str, pk: int, **fields: Any) -> dict[str, Any]:
    return {"model": f"sentry.{model}", "pk": pk, "fields": fields}


def rows(rounds: Sequence[Sequence[Metrics]]) -> list[Row]:
    """Return the row of the table."""
    elapsed = [metrics["seconds"] for (metrics,) in rounds]
    return [Row(f"import of {KEYS:,} keys, which are published, s", elapsed, goal=Goal(60, at_least=False))]
