"""Background tasks are restarted after a failure, which is logged and counted and never ends the process."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from projectkeys_servers.ports import free_port
from service.app import build, publishing
from service.concurrency import supervisor
from service.concurrency.backoff import Backoff
from service.concurrency.supervisor import supervised
from service.domain.events import SHARDS
from service.publisher.outbox_worker import OutboxWorker
from service.settings import Settings
from service.usecases.jobs import Jobs
from testkit.polling import poll_until
from tests.outbox import Postgres, waiting, write_row
from tests.processes import running


class FaultError(Exception):
    """An unexpected error."""


async def test_a_task_is_restarted_after_growing_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure is counted and logged with its delay; a task that returns is not restarted."""
    _shorten_restarts(monkeypatch, first=0.01, longest=0.03)
    registry, tries = CollectorRegistry(), list[int]()
    restarts = Counter("restarts", "Restarts.", ("work",), registry=registry)

    async def work() -> None:
        tries.append(len(tries))
        if len(tries) < 5:
            raise FaultError

    async def done() -> bool:
        return len(tries) == 5

    with capture_logs() as lines:
        async with supervised("sweeper", work, restarts):
            await poll_until(done)
    assert [line["restart_in_seconds"] for line in lines] == [0.01, 0.02, 0.03, 0.03]
    assert {(line["event"], line["work"]) for line in lines} == {("background_failed", "sweeper")}
    assert registry.get_sample_value("restarts_total", {"work": "sweeper"}) == 4


async def test_a_publisher_that_fails_is_restarted_and_loses_no_event(
    settings: Settings, topic: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failures are counted, the delays grow, and rows that were written meanwhile are published."""
    _shorten_restarts(monkeypatch, first=0.02, longest=5.0)
    run, failures = OutboxWorker.run, [FaultError(), FaultError(), FaultError()]

    async def fail(worker: OutboxWorker) -> None:
        if failures:
            raise failures.pop()
        await run(worker)

    monkeypatch.setattr(OutboxWorker, "run", fail)
    joined = build(replace(settings, kafka_topic=topic))
    await write_row(postgres)

    async def published() -> bool:
        return await waiting(postgres) == 0

    with capture_logs() as lines:
        async with publishing(joined):
            await poll_until(published)
            assert joined.publisher.owned == list(range(SHARDS))
    failed = [line for line in lines if line["event"] == "background_failed" and line["work"] == "publisher"]
    assert [line["restart_in_seconds"] for line in failed] == [0.02, 0.04, 0.08]
    assert joined.registry.get_sample_value("projectkeys_publisher_restarts_total") == 3


async def test_jobs_that_fail_are_restarted(settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other background task."""
    _shorten_restarts(monkeypatch, first=0.01, longest=30.0)
    step, failures = Jobs.step, [FaultError(), FaultError()]

    async def fail(jobs: Jobs) -> bool:
        if failures:
            raise failures.pop()
        return await step(jobs)

    monkeypatch.setattr(Jobs, "step", fail)
    joined = build(replace(settings, kafka_topic=topic))

    async def restarted() -> bool:
        name, labels = "projectkeys_background_restarts_total", {"work": "jobs"}
        return joined.registry.get_sample_value(name, labels) == 2

    async with publishing(joined):
        await poll_until(restarted)


async def test_a_service_without_a_schema_waits_for_it(
    empty_database_url: str, kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    """It reports what is missing, serves its metrics nevertheless, and stops on SIGTERM."""
    ports = {"PORT": str(free_port()), "OPS_PORT": str(free_port())}
    environment = {
        "DATABASE_URL": empty_database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC": topic,
        "SHUTDOWN_DELAY": "0",
        **ports,
    }
    async with running("serve", environment=environment, directory=tmp_path) as process:

        async def failed() -> bool:
            return "leases_not_renewed" in process.errors and "job_poll_failed" in process.errors

        await poll_until(failed, timeout=15)
        assert "projectkeys_build_info" in await _text(f"http://127.0.0.1:{ports['OPS_PORT']}/metrics")
        assert "Traceback" not in process.errors
        assert "projectkeys migrate" in await _text(f"http://127.0.0.1:{ports['OPS_PORT']}/readyz")
        process.signal(signal.SIGTERM)
        assert await process.wait_for_exit(timeout=10) == 0


def _shorten_restarts(monkeypatch: pytest.MonkeyPatch, *, first: float, longest: float) -> None:
    """Restart supervised tasks after these delays, without jitter."""
    backoff = Backoff(first=first, longest=longest, jitter=0)
    monkeypatch.setattr(supervisor, "RESTART_BACKOFF", backoff)


async def _text(url: str) -> str:
    async with ClientSession() as session, session.get(url) as response:
        return await response.text()
