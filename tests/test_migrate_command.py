"""`migrate` as an operator and an init container run it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from projectkeys_servers.ports import free_port
from service.postgres.migrate import migrate
from service.postgres.migration_files import known_migrations
from testkit.commits import RELEASE_0_1_0, extract_commit, read_file
from testkit.polling import poll_until
from testkit.processes import Process
from testkit.proxy import proxy
from tests.catalog import describe_schema
from tests.commands import run
from tests.outbox import Postgres
from tests.processes import running

_HOLD_LOCK = "SELECT pg_advisory_lock(7346198202)"
_PATIENCE = 60.0
"""Seconds for processes that start at the same time on a busy machine."""

_READINESS = """
import asyncio, asyncpg, sys
from service.postgres.schema import current_version, problem_with
async def check():
    connection = await asyncpg.connect(sys.argv[1])
    print(problem_with(await current_version(connection)))
asyncio.run(check())
"""


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Postgres]:
    """A connection to a database without the schema."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_of_five_migrations_one_is_killed_and_the_others_finish_its_work_once(
    empty: Postgres, empty_database_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    """The killed one leaves an invalid index; the next one rebuilds it, and the other three have nothing to do."""
    await empty.execute(read_file(RELEASE_0_1_0, "schema.sql"))
    blocker = await asyncpg.connect(empty_database_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE audit_entry IN ROW EXCLUSIVE MODE")  # as any write that has not committed
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(
                running(
                    *("migrate", "--wait", str(_PATIENCE)),
                    environment={"DATABASE_URL": empty_database_url},
                    directory=tmp_path,
                )
            )
            for _ in range(5)
        ]
        killed = await _first_to_build(processes)
        waiting = [process for process in processes if process is not killed]
        await poll_until(lambda: _exists(empty, "audit_entry_target"), timeout=_PATIENCE)
        killed.signal(signal.SIGKILL)
        successor = await _first_to_build(waiting)
        await transaction.rollback()
        await blocker.close()
        for process in waiting:
            assert await process.wait_for_exit(timeout=_PATIENCE) == 0, process.errors
    applied = [process for process in waiting if "; the schema is current (version" in process.output]
    assert applied == [successor]
    assert "Applying 0001" in killed.output
    assert "Applying 0001" not in successor.output
    assert await describe_schema(empty) == await describe_schema(postgres)


async def _first_to_build(processes: list[Process]) -> Process:
    building: list[Process] = []

    async def found() -> bool:
        building.extend(process for process in processes if "Applying 0002" in process.output)
        return bool(building)

    await poll_until(found, timeout=_PATIENCE)
    return building[0]


async def _exists(connection: Postgres, relation: str) -> bool:
    return await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", relation) is True


async def test_a_second_migration_is_an_error_at_once_without_wait(
    empty: Postgres,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says that another one is running, and it changes nothing."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    await empty.execute(_HOLD_LOCK)
    assert await run("migrate") == 1
    assert "another migration is running: run this again later, or with --wait SECONDS" in capsys.readouterr().err
    assert not await _exists(empty, "schema_version")


async def test_wait_ends_with_a_sentence(
    empty: Postgres,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It never blocks in the server: a waiter there would be in the way of CREATE INDEX CONCURRENTLY."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    await empty.execute(_HOLD_LOCK)
    waiting = asyncio.create_task(run("migrate", "--wait", "2"))
    while not waiting.done():
        assert await empty.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0
        await asyncio.sleep(0.02)
    assert await waiting == 1
    printed = capsys.readouterr()
    assert "Another migration is running; waiting for it for at most" in printed.out
    assert "another migration is still running after" in printed.err


async def test_wait_also_waits_for_the_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An init container can start before the database accepts connections; the wait has a bound."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user@127.0.0.1:{free_port()}/keys")
    assert await run("migrate", "--wait", "1") == 1
    printed = capsys.readouterr()
    assert printed.out.count("Waiting for the database: ") == 1
    assert "the database is unavailable" in printed.err


async def test_wait_continues_when_the_database_accepts_connections(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here a proxy leads to no server at first."""
    parts = urlsplit(empty_database_url)
    assert parts.port is not None
    async with proxy(free_port()) as wire:
        monkeypatch.setenv("DATABASE_URL", empty_database_url.replace(f":{parts.port}/", f":{wire.port}/"))
        waiting = asyncio.create_task(run("migrate", "--wait", str(_PATIENCE)))
        printed = ""

        async def is_waiting() -> bool:
            nonlocal printed
            printed += capsys.readouterr().out
            return "Waiting for the database" in printed

        await poll_until(is_waiting, timeout=_PATIENCE)
        wire.target = parts.port
        assert await waiting == 0
    assert "Created the schema (version 1)." in capsys.readouterr().out


async def test_check_names_the_missing_migrations(
    empty: Postgres,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 before, 0 after."""
    await empty.execute(read_file(RELEASE_0_1_0, "schema.sql"))
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert await run("migrate", "--check") == 1
    assert "lacks the migrations 0001_schema_migration" in capsys.readouterr().err
    assert await run("migrate") == 0
    names = ", ".join(migration.name for migration in known_migrations())
    assert f"Applied {names}; the schema is current (version 1)." in capsys.readouterr().out
    assert await run("migrate", "--check") == 0


async def test_migrate_through_pgbouncer_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In transaction mode the lock would stay with whichever server connection took it."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATABASE_PGBOUNCER", "true")
    assert await run("migrate") == 1
    assert "connect to Postgres directly, with DATABASE_PGBOUNCER=false" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["-1", "x", "nan", "1e9"])
async def test_wait_needs_a_number_of_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as for every invalid argument."""
    assert await run("migrate", f"--wait={seconds}") == 2
    assert "must be a number of seconds from 0 to 86400" in capsys.readouterr().err


async def test_release_0_1_0_is_ready_on_the_new_schema_and_its_migrate_succeeds(
    empty: Postgres, empty_database_url: str, tmp_path: Path
) -> None:
    """A rollback to it needs no step; it also runs beside this release during a rolling update."""
    await empty.execute(read_file(RELEASE_0_1_0, "schema.sql"))
    await migrate(empty)
    extract_commit(RELEASE_0_1_0, tmp_path, "service", "schema.sql")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path),
        "DATABASE_URL": empty_database_url,
    }

    async def old(*arguments: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert await old("-m", "service", "migrate") == "The schema is at version 1 already.\n"
    assert await old("-m", "service", "migrate", "--check") == "The schema is at version 1.\n"
    assert await old("-c", _READINESS, empty_database_url) == "None\n"
    where = await old("-c", "import service; print(service.__file__)")
    assert where.startswith(str(tmp_path))
