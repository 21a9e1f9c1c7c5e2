"""Work beside the requests: a fault ends it for moments, is counted and logged, and never ends the process."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

import service.concurrency.supervisor
from service.app import build, publishing
from service.concurrency.supervisor import background
from service.domain.partitioning import SHARDS
from service.publisher import publisher
from service.publisher.outbox_worker import OutboxTable
from service.settings import Settings
from service.usecases.jobs import Jobs
from tests.events import until
from tests.kafka_harness import unused_port
from tests.outbox import Postgres, waiting, write_row
from tests.processes import running


class FaultError(Exception):
    """Nobody has thought of it."""


async def test_work_begins_again_after_ever_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is counted under the work's name and logged with its pause; work that returns is done."""
    monkeypatch.setattr(service.concurrency.supervisor, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(service.concurrency.supervisor, "_LONGEST_PAUSE", 0.03)
    registry, tries = CollectorRegistry(), list[int]()
    restarts = Counter("restarts", "Restarts.", ("work",), registry=registry)

    async def work() -> None:
        tries.append(len(tries))
        if len(tries) < 5:
            raise FaultError

    async def done() -> bool:
        return len(tries) == 5

    with capture_logs() as lines:
        async with background("digging", work, restarts):
            await until(done)
    assert [line["restart_in"] for line in lines] == [0.01, 0.02, 0.03, 0.03]
    assert {(line["event"], line["work"]) for line in lines} == {("background_failed", "digging")}
    assert registry.get_sample_value("restarts_total", {"work": "digging"}) == 4


async def test_a_publisher_that_crashes_begins_again_and_loses_nothing(
    settings: Settings, topic: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its faults are counted, its pauses grow, and what came meanwhile is published after the last of them."""
    monkeypatch.setattr(publisher, "_FIRST_RESTART", 0.02)
    monkeypatch.setattr(publisher, "_LONGEST_RESTART", 5.0)
    run, crashes = OutboxTable.run, [FaultError(), FaultError(), FaultError()]

    async def crash(table: OutboxTable) -> None:
        if crashes:
            raise crashes.pop()
        await run(table)

    monkeypatch.setattr(OutboxTable, "run", crash)
    joined = build(replace(settings, kafka_topic=topic))
    await write_row(postgres)

    async def published() -> bool:
        return await waiting(postgres) == 0

    with capture_logs() as lines:
        async with publishing(joined):
            await until(published)
            assert joined.publisher.owned == list(range(SHARDS))
    failed = [line for line in lines if line["event"] == "publisher_failed"]
    assert [line["restart_in"] for line in failed] == [0.02, 0.04, 0.08]
    assert joined.registry.get_sample_value("projectkeys_publisher_restarts_total") == 3


async def test_jobs_that_crash_begin_again(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As does everything else that is started beside the requests."""
    monkeypatch.setattr(service.concurrency.supervisor, "_FIRST_PAUSE", 0.01)
    step, faults = Jobs.step, [FaultError(), FaultError()]

    async def crash(jobs: Jobs) -> bool:
        if faults:
            raise faults.pop()
        return await step(jobs)

    monkeypatch.setattr(Jobs, "step", crash)
    joined = build(replace(settings, kafka_topic=topic))

    async def restarted() -> bool:
        name, labels = "projectkeys_background_restarts_total", {"work": "jobs"}
        return joined.registry.get_sample_value(name, labels) == 2

    async with publishing(joined):
        await until(restarted)


async def test_a_service_without_a_schema_waits_for_it(
    empty_database_url: str, kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    """It says what is missing, shows its metrics all the same, and stops as it should."""
    ports = {"PORT": str(unused_port()), "OPS_PORT": str(unused_port())}
    environment = {
        "DATABASE_URL": empty_database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC": topic,
        "SHUTDOWN_DELAY": "0",
        **ports,
    }
    async with running("serve", environment=environment, directory=tmp_path) as process:

        async def crashed() -> bool:
            return "background_failed" in process.errors

        await until(crashed, patience=15)
        text = await _text(f"http://127.0.0.1:{ports['OPS_PORT']}/metrics")
        assert 'projectkeys_background_restarts_total{work="jobs"}' in text
        assert "projectkeys migrate" in await _text(f"http://127.0.0.1:{ports['OPS_PORT']}/readyz")
        process.signal(signal.SIGTERM)
        assert await process.exited(within=10) == 0


async def _text(url: str) -> str:
    async with ClientSession() as session, session.get(url) as response:
        return await response.text()
