"""Replicas of the service: they share the shards, take over from each other, and stop in order."""

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
    """Return a deployment with a database and a topic of one test."""
    return await deploy(replace(settings, kafka_topic=topic, shard_lease=_LEASE))


async def _is_empty(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0


async def _changes_are_published(postgres: Postgres) -> bool:
    return not await postgres.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE version > 1)")


async def _wait_until_shared(first: DeployedReplica, second: DeployedReplica) -> None:
    await asyncio.gather(*(poll_until(partial(one.owns, _HALF), timeout=10) for one in (first, second)))


async def test_two_replicas_share_the_shards_and_send_each_event_once(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """With creates through both and changes by SQL: events of each key in order, no copy without a fault."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _wait_until_shared(first, second)
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


async def test_a_publisher_shares_the_shards_with_a_server(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """`publish` serves no API and owns half of the shards; events of keys created through the other arrive."""
    async with (
        replica(deployment, tmp_path) as server,
        replica(deployment, tmp_path, "publish") as publisher,
    ):
        await _wait_until_shared(server, publisher)
        async with ClientSession() as session:
            with pytest.raises(ClientConnectionError):
                await session.get(publisher.keys_url)
        async with load_on(server) as load:
            await poll_until(lambda: load.reaches(60))
        events = await arrived(deployment, load.made)
    assert await check(events, load.made, postgres) == 0


async def test_events_of_a_server_without_publisher_stay_in_the_outbox(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """It serves and is ready; its events stay in the outbox until another process publishes."""
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


async def test_shards_of_a_stopped_replica_are_taken_over_at_once(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """The other replica does not wait for the leases of 30 s, and nothing is published twice."""
    settings = {"SHARD_LEASE": "30"}
    async with replica(deployment, tmp_path, **settings) as first:
        # It gets its half at the next check of the first one, as after a start of both at once.
        async with replica(deployment, tmp_path, **settings) as second:
            await _wait_until_shared(first, second)
            async with load_on(first) as load:
                await poll_until(lambda: load.reaches(20))
                second.process.signal(signal.SIGTERM)
                await poll_until(lambda: first.owns(SHARDS), timeout=2)
                assert await second.process.wait_for_exit(timeout=5) == 0
                await poll_until(partial(load.reaches, len(load.made) + 20))
        events = await arrived(deployment, load.made)
    assert (load.refused, load.failures) == ([], [])
    assert await check(events, load.made, postgres) == 0


async def test_shards_of_a_killed_replica_are_taken_over_after_its_lease(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """SIGKILL under load: every acknowledged key has its event; copies only around the kill."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _wait_until_shared(first, second)
        async with load_on(first, second) as load:
            await poll_until(lambda: load.reaches(100))
            second.process.kill()
            await poll_until(lambda: first.owns(SHARDS), timeout=_LEASE + 5)
            await poll_until(partial(load.reaches, len(load.made) + 20))
        events = await arrived(deployment, load.made)
        await poll_until(lambda: _is_empty(postgres))
    assert load.refused == []
    assert await check(events, load.made, postgres) < 50


async def test_a_replica_that_resumes_after_its_lease_publishes_nothing_old(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """It is paused under load and resumes after the other one published newer versions of the same keys."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _wait_until_shared(first, second)
        async with load_on(first, second) as load:
            await poll_until(lambda: load.reaches(100))
            second.process.signal(signal.SIGSTOP)
            await poll_until(lambda: first.owns(SHARDS), timeout=_LEASE + 5)
            for one in load.made[-60:]:
                await change(postgres, one.key, shard=shard_of(one.key))
            await poll_until(lambda: _changes_are_published(postgres))
            second.process.signal(signal.SIGCONT)
            await _wait_until_shared(first, second)
            for one in load.made[-60:]:
                await change(postgres, one.key, shard=shard_of(one.key))
        await poll_until(lambda: _is_empty(postgres))
        events = await arrived(deployment, load.made)
        assert "shards_lost" in second.process.errors
    assert await check(events, load.made, postgres) < 50


async def test_sigterm_under_load_fails_no_request(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """Until the listener closes every request gets a response, also one with a late body; the exit status is 0."""
    delay = 1.0
    async with replica(deployment, tmp_path, SHUTDOWN_DELAY=str(delay)) as server:
        async with load_on(server) as load, _partial_request(server) as rest:
            await poll_until(lambda: load.reaches(50))
            known, stopped_at = len(load.made), time.monotonic()
            server.process.signal(signal.SIGTERM)
            await poll_until(lambda: _is_stopping(server), timeout=delay)
            await poll_until(lambda: _refuses_connections(server), timeout=delay + 2)
            load.stopping = True
            assert (await rest()).startswith(b"HTTP/1.1 201 ")
        assert await server.process.wait_for_exit(timeout=5) == 0
    assert load.refused == []
    assert [one for one in load.failures if one.sent_at < stopped_at + delay] == []
    assert len(load.made) > known + 20, "it served until the listener closed"
    async with replica(deployment, tmp_path):
        events = await arrived(deployment, load.made)
    assert await check(events, load.made, postgres) == 0


async def _is_stopping(server: DeployedReplica) -> bool:
    return await server.readyz() == (503, {"status": "stopping"})


async def _refuses_connections(server: DeployedReplica) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@asynccontextmanager
async def _partial_request(server: DeployedReplica) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Send a request with half a body; yield a function that sends the rest and returns the status line."""
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


async def test_a_second_sigterm_ends_the_shutdown_delay(deployment: Deployment, tmp_path: Path) -> None:
    """The first starts a delay of 30 s for load balancers; the second skips it."""
    async with replica(deployment, tmp_path, SHUTDOWN_DELAY="30") as server:
        server.process.signal(signal.SIGTERM)
        await poll_until(lambda: _is_stopping(server), timeout=2)
        assert server.process.running
        server.process.signal(signal.SIGTERM)
        assert await server.process.wait_for_exit(timeout=5) == 0


@pytest.mark.parametrize("after", [0.1, 0.5, 0.9, 1.3])
async def test_sigterm_during_the_start_ends_the_process(
    deployment: Deployment, tmp_path: Path, after: float
) -> None:
    """At any time of the start, the process exits within seconds and without a traceback."""
    port, ops_port = free_port(), free_port()
    settings = {**deployment.environment, "PORT": str(port), "OPS_PORT": str(ops_port)}
    async with running("serve", environment=settings, directory=tmp_path) as process:
        await asyncio.sleep(after)
        process.signal(signal.SIGTERM)
        assert await process.wait_for_exit(timeout=5) in {0, -signal.SIGTERM}
        assert "Traceback" not in process.errors


async def test_wrong_settings_are_reported_together(tmp_path: Path) -> None:
    """One run reports every wrong setting by name; the exit status says that a restart does not help."""
    wrong = {"PORT": "x", "OPS_PORT": "0", "LOG_LEVEL": "loud", "SHARD_LEASE": "-1"}
    async with running("serve", environment=wrong, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=10) == 78
        reported = [line.partition(":")[0] for line in process.errors.splitlines()]
    assert reported == ["Some settings cannot be used", *sorted(wrong)]


async def test_a_blocked_stop_is_ended_by_force(tmp_path: Path) -> None:
    """A thread that waits, for example for a DNS resolver, cannot be cancelled, and the interpreter waits for it."""
    program = (
        "import threading, time; from service.server import end_by_force; end_by_force(after=0.2); "
        "threading.Thread(target=time.sleep, args=(60,)).start()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    async with asyncio.timeout(20):
        assert await process.wait() == -signal.SIGALRM


async def test_a_hanging_postgres_does_not_block_the_stop(
    deployment: Deployment, settings: Settings, tmp_path: Path
) -> None:
    """With running requests and shards to release, every wait for Postgres is bounded; the exit status is 0."""
    url = urlsplit(settings.database_url)
    async with proxy(url.port or 0) as postgres_proxy:
        behind = settings.database_url.replace(f":{url.port}/", f":{postgres_proxy.port}/")
        async with replica(deployment, tmp_path, DATABASE_URL=behind) as server:
            await poll_until(lambda: server.owns(SHARDS), timeout=10)
            async with load_on(server) as load:
                await poll_until(lambda: load.reaches(20))
                postgres_proxy.block()
                server.process.signal(signal.SIGTERM)
                assert await server.process.wait_for_exit(timeout=25) == 0
                load.stopping = True
