"""A process at its limit of file descriptors keeps those for Postgres and Kafka."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from service.settings import Settings
from testkit.polling import poll_until
from tests.load import running_load
from tests.outbox import Postgres, waiting
from tests.processes import deploy, replica

_MAX_FILES = 150


async def test_idle_connections_of_clients_do_not_exhaust_the_file_descriptors(
    settings: Settings, topic: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients open twice as many connections as files are allowed: events are published and requests served."""

    def popen_with_limit(arguments: Sequence[str], **options: Any) -> Popen[bytes]:
        shell = ("/bin/sh", "-c", f'ulimit -n {_MAX_FILES}; exec "$@"', "sh")
        return Popen([*shell, *arguments], **options)  # noqa: S603 -- the program under test

    monkeypatch.setattr("testkit.processes.subprocess.Popen", popen_with_limit)
    deployment = await deploy(replace(settings, kafka_topic=topic))
    async with replica(deployment, tmp_path) as server, running_load(server) as load:
        await poll_until(lambda: load.reaches(20))
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2 * _MAX_FILES)]
        number = len(load.created)
        await poll_until(lambda: load.reaches(number + 50))
        for _, writer in connections:
            writer.close()
        load.stopping = True
        await poll_until(lambda: _is_published(postgres))
        assert "Too many open files" not in server.process.errors
    assert load.failures == []


async def _is_published(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0
