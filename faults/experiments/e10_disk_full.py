"""E10: the disk of PostgreSQL is full, and has space again."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from faults.errors import ExperimentError
from faults.experiment import BATCH, Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from projectkeys_servers.errors import EmbeddedServerError
from projectkeys_servers.postgres import EmbeddedPostgres

_SIZE: Final = "260m"
_INITIAL_FREE: Final = 1 << 20
"""Bytes: enough for the current WAL segment, not for the next one."""

_RECOVERY_BOUND: Final = 30.0


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Writes get 503 meanwhile; afterwards the service recovers without intervention."""
    async with (
        _small_disk(servers) as (directory, postgres),
        new_experiment(replace(servers, postgres=postgres), plan) as experiment,
    ):
        async with experiment.under_load():
            for _ in range(plan.rounds):
                await _fill(experiment, directory, postgres)
        experiment.expect_only_503()
        return await experiment.check(duplicates=plan.rounds * 2 * BATCH)


@asynccontextmanager
async def _small_disk(servers: SharedServers) -> AsyncIterator[tuple[Path, EmbeddedPostgres]]:
    """Mount a small file system in memory with a PostgreSQL of its own on it."""
    directory = servers.directory / f"volume-{uuid4().hex}"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(directory)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    if os.geteuid() != 0 or done.returncode != 0:
        raise ExperimentError(f"a small file system cannot be mounted: {done.stderr.decode().strip()}")
    postgres = EmbeddedPostgres(directory / "postgres", report=servers.report)
    try:
        (directory / "postgres").mkdir()
        await postgres.start()
        yield directory, postgres
    finally:
        postgres.kill()
        await asyncio.sleep(1)  # child processes of the server exit on their own
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(directory)], check=False)


async def _fill(experiment: Experiment, directory: Path, postgres: EmbeddedPostgres) -> None:
    ballast = directory / "ballast"
    filled_at = time.monotonic()
    _write_ballast(ballast)
    deadline = time.monotonic() + (30 if experiment.plan.short else 60)
    while not experiment.load.failed_since(filled_at) and time.monotonic() < deadline:
        with suppress(OSError), ballast.open("ab") as file:  # space that was freed meanwhile
            file.write(bytes(shutil.disk_usage(directory).free))
        await asyncio.sleep(0.1)
    failed = len(experiment.load.failed_since(filled_at))
    experiment.expect(failed > 0, "no write failed while the disk was full")
    await asyncio.sleep(1 if experiment.plan.short else 5)
    ballast.unlink()
    try:
        await postgres.start()  # if it has exited: an operator's task
    except EmbeddedServerError:
        experiment.metrics["server"] = "kept running"
    seconds = await experiment.load.wait_for_acknowledged(20, timeout=60)
    experiment.expect_within(seconds, _RECOVERY_BOUND, "20 successes after space was freed")
    experiment.metrics["recovered after"] = f"{seconds:.1f} s"
    experiment.metrics["failed meanwhile"] = str(failed)


def _write_ballast(ballast: Path) -> None:
    with ballast.open("wb") as file:
        while (free := shutil.disk_usage(ballast.parent).free) > _INITIAL_FREE:
            file.write(bytes(min(free - _INITIAL_FREE, 1 << 20)))
            file.flush()
