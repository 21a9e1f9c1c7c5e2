"""E10: the volume of PostgreSQL is full, and has room again."""

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

from faults.replica import FaultError
from faults.trial import BATCH, Figures, Plan, Trial, trial, under_load
from faults.world import World
from service.dev.errors import EmbeddedServerError
from service.dev.postgres import EmbeddedPostgres
from service.dev.servers import Servers

_SIZE: Final = "260m"
_SPARE: Final = 1 << 20
"""Bytes that are left at first: enough for the log's file that is begun, not for the next."""

_RECOVERED_WITHIN: Final = 30.0


async def run(world: World, plan: Plan) -> Figures:
    """Writes are 503 meanwhile; afterwards all is well without anybody touching the service."""
    async with _volume(world) as (place, postgres):
        servers = Servers(postgres, world.servers.kafka)
        async with trial(replace(world, servers=servers), plan) as one:
            async with under_load(one):
                for _ in range(plan.rounds):
                    await _filled(one, place, postgres)
            bad = [call for call in one.load.unknown_since(0) if call.status != 503]  # noqa: PLR2004 -- HTTP's own
            one.expect(not bad, f"{len(bad)} calls were answered otherwise than by 503: {bad[:2]}")
            return await one.judged(duplicates=plan.rounds * 2 * BATCH)


@asynccontextmanager
async def _volume(world: World) -> AsyncIterator[tuple[Path, EmbeddedPostgres]]:
    """A small file system in memory with a PostgreSQL of its own on it."""
    place = world.directory / f"volume-{uuid4().hex}"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    if os.geteuid() != 0 or done.returncode != 0:
        raise FaultError(f"a small volume cannot be mounted: {done.stderr.decode().strip()}")
    postgres = EmbeddedPostgres(place / "postgres", report=world.say)
    try:
        (place / "postgres").mkdir()
        await postgres.start()
        yield place, postgres
    finally:
        postgres.kill()
        await asyncio.sleep(1)  # what the server leaves behind ends by itself
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(place)], check=False)


async def _filled(one: Trial, place: Path, postgres: EmbeddedPostgres) -> None:
    ballast = place / "ballast"
    filled_at = time.monotonic()
    with ballast.open("wb") as file:
        while (free := shutil.disk_usage(place).free) > _SPARE:
            file.write(bytes(min(free - _SPARE, 1 << 20)))
            file.flush()
    ends = time.monotonic() + (30 if one.plan.short else 60)
    while not one.load.unknown_since(filled_at) and time.monotonic() < ends:
        with suppress(OSError), ballast.open("ab") as file:  # what was freed meanwhile
            file.write(bytes(shutil.disk_usage(place).free))
        await asyncio.sleep(0.1)
    failed = len(one.load.unknown_since(filled_at))
    one.expect(failed > 0, "the full disk was not noticed")
    await asyncio.sleep(1 if one.plan.short else 5)
    ballast.unlink()
    try:
        await postgres.start()  # where it has given up: it is the server's operator who does this
    except EmbeddedServerError:
        one.own["server"] = "stayed up"
    freed_at = time.monotonic()
    await one.load.grows(20, within=60)
    took = time.monotonic() - freed_at
    one.expect_within(took, _RECOVERED_WITHIN, "20 good answers after there was room")
    one.own["recovered after"] = f"{took:.1f} s"
    one.own["refused meanwhile"] = str(failed)
