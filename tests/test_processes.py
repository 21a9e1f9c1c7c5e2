"""Replicas of the service: they share the work, take over from each other, and stop as they should."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientConnectionError, ClientSession

from service.dev.ports import free_port
from service.domain.partitioning import SHARDS, shard_of
from service.settings import Settings
from testkit.polling import poll_until
from testkit.processes import ROOT
from testkit.proxy import proxy
from tests.events import header
from tests.load import arrived, check, load_on
from tests.outbox import Postgres, change, waiting
from tests.processes import DeployedReplica, Deployment, deploy, replica, running

_HALF = SHARDS // 2
_LEASE = 1.0


@pytest.fixture
async def deployment(settings: Settings, topic: str) -> Deployment:
    """A database and a topic of one test."""
    return await deploy(replace(settings, kafka_topic=topic, shard_lease=_LEASE))


async def _is_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def _changes_are_sent(postgres: Postgres) -> bool:
    return not await postgres.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE version > 1)")


async def _share(first: DeployedReplica, second: DeployedReplica) -> None:
    await asyncio.gather(*(poll_until(partial(one.owns, _HALF), timeout=10) for one in (first, second)))


async def test_two_replicas_share_the_shards_and_send_each_event_once(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """Creates through both, changes behind their backs: each key's events in order, and no copy without a fault."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _share(first, second)
        async with load_on(first, second) as load:
            for _ in range(3):
                await poll_until(partial(load.reaches, len(load.made) + 40))
                for one in load.made[-20:]:
                    await change(postgres, one.key, shard=shard_of(one.key))
        await poll_until(lambda: _is_empty(postgres))
        events = await arrived(deployment, load.made)
    assert (load.refused, load.failures) == ([], [])
    assert await check(events, load.made, postgres) == 0
    assert sum(header(one, "ce_type") == "projectkey.updated" for one in events) == 60


async def test_a_publisher_alone_shares_with_a_server(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """`publish` serves no API and takes its half all the same; keys made through the other arrive."""
    async with (
        replica(deployment, tmp_path) as server,
        replica(deployment, tmp_path, "publish") as publisher,
    ):
        await _share(server, publisher)
        async with ClientSession() as session:
            with pytest.raises(ClientConnectionError):
                await session.get(publisher.keys_url)
        async with load_on(server) as load:
            await poll_until(lambda: load.reaches(60))
        events = await arrived(deployment, load.made)
    assert await check(events, load.made, postgres) == 0


async def test_a_server_that_does_not_publish_leaves_that_to_others(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """It serves and is ready; its events wait in the outbox until a process comes that publishes."""
    async with replica(deployment, tmp_path, "serve --no-publish") as server:
        headers = {"Authorization": f"Bearer {deployment.token}", "Prefer": "wait=1"}
        async with ClientSession(headers=headers) as session:
            alone = await session.post(server.keys_url, json={})
            assert (alone.status, alone.headers["Event-Status"]) == (201, "pending")
            assert await server.owns(0)
            assert await waiting(postgres) == 1
            async with replica(deployment, tmp_path, "publish") as publisher:
                await poll_until(lambda: publisher.owns(SHARDS))
                await poll_until(lambda: _is_empty(postgres))
                both = await session.post(server.keys_url, json={}, headers={"Prefer": "wait=10"})
                assert (both.status, both.headers["Event-Status"]) == (201, "published")
        server.process.signal(signal.SIGTERM)
        assert await server.process.wait_for_exit(timeout=5) == 0


async def test_what_a_stopped_replica_published_is_taken_over_at_once(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """The leases have half a minute to go; the other one does not wait for them, and nothing comes twice."""
    settings = {"SHARD_LEASE": "30"}
    async with replica(deployment, tmp_path, **settings) as first:
        # Its share comes when the first one looks again; a start of both at once would settle as quickly.
        async with replica(deployment, tmp_path, **settings) as second:
            await _share(first, second)
            async with load_on(first) as load:
                await poll_until(lambda: load.reaches(20))
                second.process.signal(signal.SIGTERM)
                await poll_until(lambda: first.owns(SHARDS), timeout=2)
                assert await second.process.wait_for_exit(timeout=5) == 0
                await poll_until(partial(load.reaches, len(load.made) + 20))
        events = await arrived(deployment, load.made)
    assert (load.refused, load.failures) == ([], [])
    assert await check(events, load.made, postgres) == 0


async def test_what_a_killed_replica_published_is_taken_over_after_its_lease(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """SIGKILL under load: every key that was answered for has its event, copies only round the kill."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _share(first, second)
        async with load_on(first, second) as load:
            await poll_until(lambda: load.reaches(100))
            second.process.kill()
            await poll_until(lambda: first.owns(SHARDS), timeout=_LEASE + 5)
            await poll_until(partial(load.reaches, len(load.made) + 20))
        events = await arrived(deployment, load.made)
        await poll_until(lambda: _is_empty(postgres))
    assert load.refused == []
    assert await check(events, load.made, postgres) < 50


async def test_a_replica_that_wakes_after_its_lease_disturbs_nothing(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """Halted under load and let go when the other has published newer versions of the same keys."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _share(first, second)
        async with load_on(first, second) as load:
            await poll_until(lambda: load.reaches(100))
            second.process.signal(signal.SIGSTOP)
            await poll_until(lambda: first.owns(SHARDS), timeout=_LEASE + 5)
            for one in load.made[-60:]:
                await change(postgres, one.key, shard=shard_of(one.key))
            await poll_until(lambda: _changes_are_sent(postgres))
            second.process.signal(signal.SIGCONT)
            await _share(first, second)
            for one in load.made[-60:]:
                await change(postgres, one.key, shard=shard_of(one.key))
        await poll_until(lambda: _is_empty(postgres))
        events = await arrived(deployment, load.made)
        assert "shards_lost" in second.process.errors
    assert await check(events, load.made, postgres) < 50


async def test_sigterm_under_load_breaks_nothing(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """Until the listener closes every request is answered, one whose body comes later too; the exit code is 0."""
    delay = 1.0
    async with replica(deployment, tmp_path, SHUTDOWN_DELAY=str(delay)) as server:
        async with load_on(server) as load, _half_a_request(server) as rest:
            await poll_until(lambda: load.reaches(50))
            known, stopped_at = len(load.made), time.monotonic()
            server.process.signal(signal.SIGTERM)
            await poll_until(lambda: _stops(server), timeout=delay)
            await poll_until(lambda: _refuses(server), timeout=delay + 2)
            load.stopping = True
            assert (await rest()).startswith(b"HTTP/1.1 201 ")
        assert await server.process.wait_for_exit(timeout=5) == 0
    assert load.refused == []
    assert [one for one in load.failures if one.sent_at < stopped_at + delay] == []
    assert len(load.made) > known + 20, "it was of use until the end"
    async with replica(deployment, tmp_path):
        events = await arrived(deployment, load.made)
    assert await check(events, load.made, postgres) == 0


async def _stops(server: DeployedReplica) -> bool:
    return await server.readyz() == (503, {"status": "stopping"})


async def _refuses(server: DeployedReplica) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@asynccontextmanager
async def _half_a_request(server: DeployedReplica) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """A request whose body is not whole yet; gives what sends the rest and returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = b'{"name": "Slow"}'
    writer.write(
        f"POST {server.deployment.keys_path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {server.deployment.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body[:5]
    )

    async def rest() -> bytes:
        writer.write(body[5:])
        async with asyncio.timeout(5):
            return await reader.readline()

    try:
        yield rest
    finally:
        writer.close()


async def test_a_second_sigterm_ends_the_wait_for_routers(deployment: Deployment, tmp_path: Path) -> None:
    """The first leaves half a minute to notice; whoever cannot wait sends another."""
    async with replica(deployment, tmp_path, SHUTDOWN_DELAY="30") as server:
        server.process.signal(signal.SIGTERM)
        await poll_until(lambda: _stops(server), timeout=2)
        assert server.process.running
        server.process.signal(signal.SIGTERM)
        assert await server.process.wait_for_exit(timeout=5) == 0


@pytest.mark.parametrize("after", [0.1, 0.5, 0.9, 1.3])
async def test_sigterm_during_the_start_ends_it(deployment: Deployment, tmp_path: Path, after: float) -> None:
    """Wherever it catches the start, there is an end within seconds, and no complaint."""
    port, ops_port = free_port(), free_port()
    settings = {**deployment.environment, "PORT": str(port), "OPS_PORT": str(ops_port)}
    async with running("serve", environment=settings, directory=tmp_path) as process:
        await asyncio.sleep(after)
        process.signal(signal.SIGTERM)
        assert await process.wait_for_exit(timeout=5) in {0, -signal.SIGTERM}
        assert "Traceback" not in process.errors


async def test_wrong_settings_are_told_together(tmp_path: Path) -> None:
    """One run shows every mistake by its name, and the exit code says that a restart does not help."""
    wrong = {"PORT": "x", "OPS_PORT": "0", "LOG_LEVEL": "loud", "SHARD_LEASE": "-1"}
    async with running("serve", environment=wrong, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=10) == 78
        told = [line.partition(":")[0] for line in process.errors.splitlines()]
    assert told == ["Some settings cannot be used", *sorted(wrong)]


async def test_a_stop_that_something_holds_up_is_ended_by_force(tmp_path: Path) -> None:
    """A thread that waits for a resolver, say: nobody can cancel it, and the interpreter waits for it."""
    program = (
        "import threading, time; from service.server import end_by_force; end_by_force(after=0.2); "
        "threading.Thread(target=time.sleep, args=(60,)).start()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    async with asyncio.timeout(20):
        assert await process.wait() == -signal.SIGALRM


async def test_a_postgres_that_hangs_does_not_hold_up_the_end(
    deployment: Deployment, settings: Settings, tmp_path: Path
) -> None:
    """With requests under way and shards to hand over, all that waits for it has a bound; the exit code is 0."""
    url = urlsplit(settings.database_url)
    async with proxy(url.port or 0) as wire:
        behind = settings.database_url.replace(f":{url.port}/", f":{wire.port}/")
        async with replica(deployment, tmp_path, DATABASE_URL=behind) as server:
            await poll_until(lambda: server.owns(SHARDS), timeout=10)
            async with load_on(server) as load:
                await poll_until(lambda: load.reaches(20))
                wire.block()
                server.process.signal(signal.SIGTERM)
                assert await server.process.wait_for_exit(timeout=25) == 0
                load.stopping = True
