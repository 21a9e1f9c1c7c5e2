"""Replicas of the service share the shards, take over from each other and shut down cleanly."""

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

from projectkeys_servers.ports import free_port
from service.domain.events import SHARDS, shard_of
from service.settings import Settings
from testkit.polling import poll_until
from testkit.processes import ROOT
from testkit.proxy import proxy
from tests.events import header
from tests.load import check_events, running_load, wait_for_events
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
    await asyncio.gather(*(poll_until(partial(each.owns, _HALF), timeout=10) for each in (first, second)))


async def test_two_replicas_share_the_shards_and_send_each_event_once(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """Keys are created through both and changed by SQL: events of each key are in order, and no event has a copy."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _wait_until_shared(first, second)
        async with running_load(first, second) as load:
            for _ in range(3):
                await poll_until(partial(load.reaches, len(load.created) + 40))
                for created in load.created[-20:]:
                    await change(postgres, created.key, shard=shard_of(created.key))
        await poll_until(lambda: _is_empty(postgres))
        events = await wait_for_events(deployment, load.created)
    assert (load.refused, load.failures) == ([], [])
    assert await check_events(events, load.created, postgres) == 0
    assert sum(header(event, "ce_type") == "projectkey.updated" for event in events) == 60


async def test_a_publisher_shares_the_shards_with_a_server(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """`publish` serves no API and owns half of the shards; the events of the server's keys are published."""
    async with (
        replica(deployment, tmp_path) as server,
        replica(deployment, tmp_path, "publish") as publisher,
    ):
        await _wait_until_shared(server, publisher)
        async with ClientSession() as session:
            with pytest.raises(ClientConnectionError):
                await session.get(publisher.keys_url)
        async with running_load(server) as load:
            await poll_until(lambda: load.reaches(60))
        events = await wait_for_events(deployment, load.created)
    assert await check_events(events, load.created, postgres) == 0


async def test_events_of_a_server_without_publisher_stay_in_the_outbox(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """The server is ready and creates keys; its events stay in the outbox until another process publishes them."""
    async with replica(deployment, tmp_path, "serve --no-publish") as server:
        headers = {"Authorization": f"Bearer {deployment.token}", "Prefer": "wait=1"}
        async with ClientSession(headers=headers) as session:
            unpublished = await session.post(server.keys_url, json={})
            assert (unpublished.status, unpublished.headers["Event-Status"]) == (201, "pending")
            assert await server.owns(0)
            assert await waiting(postgres) == 1
            async with replica(deployment, tmp_path, "publish") as publisher:
                await poll_until(lambda: publisher.owns(SHARDS))
                await poll_until(lambda: _is_empty(postgres))
                published = await session.post(server.keys_url, json={}, headers={"Prefer": "wait=10"})
                assert (published.status, published.headers["Event-Status"]) == (201, "published")
        server.process.signal(signal.SIGTERM)
        assert await server.process.wait_for_exit(timeout=5) == 0


async def test_shards_of_a_stopped_replica_are_taken_over_at_once(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """The other replica does not wait for the leases of 30 s, and nothing is published twice."""
    settings = {"SHARD_LEASE": "30"}
    async with replica(deployment, tmp_path, **settings) as first:
        # The second replica owns its half after the next lease check of the first one.
        async with replica(deployment, tmp_path, **settings) as second:
            await _wait_until_shared(first, second)
            async with running_load(first) as load:
                await poll_until(lambda: load.reaches(20))
                second.process.signal(signal.SIGTERM)
                await poll_until(lambda: first.owns(SHARDS), timeout=2)
                assert await second.process.wait_for_exit(timeout=5) == 0
                await poll_until(partial(load.reaches, len(load.created) + 20))
        events = await wait_for_events(deployment, load.created)
    assert (load.refused, load.failures) == ([], [])
    assert await check_events(events, load.created, postgres) == 0


async def test_shards_of_a_killed_replica_are_taken_over_after_its_lease(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """SIGKILL under load: every acknowledged key has its event, and only events around the kill have copies."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _wait_until_shared(first, second)
        async with running_load(first, second) as load:
            await poll_until(lambda: load.reaches(100))
            second.process.kill()
            await poll_until(lambda: first.owns(SHARDS), timeout=_LEASE + 5)
            await poll_until(partial(load.reaches, len(load.created) + 20))
        events = await wait_for_events(deployment, load.created)
        await poll_until(lambda: _is_empty(postgres))
    assert load.refused == []
    assert await check_events(events, load.created, postgres) < 50


async def test_a_replica_that_resumes_after_its_lease_publishes_nothing_old(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """It is paused under load and resumes after the other replica published newer versions of the same keys."""
    async with replica(deployment, tmp_path) as first, replica(deployment, tmp_path) as second:
        await _wait_until_shared(first, second)
        async with running_load(first, second) as load:
            await poll_until(lambda: load.reaches(100))
            second.process.signal(signal.SIGSTOP)
            await poll_until(lambda: first.owns(SHARDS), timeout=_LEASE + 5)
            for created in load.created[-60:]:
                await change(postgres, created.key, shard=shard_of(created.key))
            await poll_until(lambda: _changes_are_published(postgres))
            second.process.signal(signal.SIGCONT)
            await _wait_until_shared(first, second)
            for created in load.created[-60:]:
                await change(postgres, created.key, shard=shard_of(created.key))
        await poll_until(lambda: _is_empty(postgres))
        events = await wait_for_events(deployment, load.created)
        assert "shards_lost" in second.process.errors
    assert await check_events(events, load.created, postgres) < 50


async def test_sigterm_under_load_fails_no_request(
    deployment: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    """Every request gets a response until the listener closes, even with a late body; the exit status is 0."""
    delay = 1.0
    async with replica(deployment, tmp_path, SHUTDOWN_DELAY=str(delay)) as server:
        async with running_load(server) as load, _partial_request(server) as rest:
            await poll_until(lambda: load.reaches(50))
            known, stopped_at = len(load.created), time.monotonic()
            server.process.signal(signal.SIGTERM)
            await poll_until(lambda: _is_stopping(server), timeout=delay)
            await poll_until(lambda: _refuses_connections(server), timeout=delay + 2)
            load.stopping = True
            assert (await rest()).startswith(b"HTTP/1.1 201 ")
        assert await server.process.wait_for_exit(timeout=5) == 0
    assert load.refused == []
    assert [failure for failure in load.failures if failure.sent_at < stopped_at + delay] == []
    assert len(load.created) > known + 20, "it served until the listener closed"
    async with replica(deployment, tmp_path):
        events = await wait_for_events(deployment, load.created)
    assert await check_events(events, load.created, postgres) == 0


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
    """The process exits within 5 s and without a traceback at any time of the start."""
    port, ops_port = free_port(), free_port()
    settings = {**deployment.environment, "PORT": str(port), "OPS_PORT": str(ops_port)}
    async with running("serve", environment=settings, directory=tmp_path) as process:
        await asyncio.sleep(after)
        process.signal(signal.SIGTERM)
        assert await process.wait_for_exit(timeout=5) in {0, -signal.SIGTERM}
        assert "Traceback" not in process.errors


async def test_wrong_settings_are_reported_together(tmp_path: Path) -> None:
    """One run reports every wrong setting by name; exit status 78 means that a restart does not help."""
    wrong = {"PORT": "x", "OPS_PORT": "-1", "LOG_LEVEL": "loud", "SHARD_LEASE": "-1"}
    async with running("serve", environment=wrong, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=10) == 78
        reported = [line.partition(":")[0] for line in process.errors.splitlines()]
    assert reported == ["Some settings are invalid", *sorted(wrong)]


async def test_a_blocked_shutdown_is_ended_by_a_signal(tmp_path: Path) -> None:
    """A thread that waits, for example for a DNS resolver, cannot be cancelled, and the interpreter joins it."""
    program = (
        "import threading, time; from service.process import end_by_force; end_by_force(after=0.2); "
        "threading.Thread(target=time.sleep, args=(60,)).start()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    async with asyncio.timeout(20):
        assert await process.wait() == -signal.SIGALRM


async def test_a_postgres_that_does_not_respond_does_not_block_the_shutdown(
    deployment: Deployment, settings: Settings, tmp_path: Path
) -> None:
    """Requests are running and shards must be released; every wait for Postgres is bounded; the exit status is 0."""
    url = urlsplit(settings.database_url)
    async with proxy(url.port or 0) as postgres_proxy:
        behind = settings.database_url.replace(f":{url.port}/", f":{postgres_proxy.port}/")
        async with replica(deployment, tmp_path, DATABASE_URL=behind) as server:
            await poll_until(lambda: server.owns(SHARDS), timeout=10)
            async with running_load(server) as load:
                await poll_until(lambda: load.reaches(20))
                postgres_proxy.block()
                server.process.signal(signal.SIGTERM)
                assert await server.process.wait_for_exit(timeout=25) == 0
                load.stopping = True
