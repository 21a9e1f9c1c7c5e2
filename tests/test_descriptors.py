"""A process that may have few files open: callers who take connections and keep them do not take its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from service.settings import Settings
from testkit.polling import poll_until
from tests.load import load_on
from tests.outbox import Postgres, waiting
from tests.processes import deploy, replica

_FILES = 150


async def test_callers_do_not_use_up_what_the_service_needs(
    settings: Settings, topic: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many connections as it may have files: it publishes on, and answers again when they have gone."""

    def limited(arguments: Sequence[str], **options: Any) -> Popen[bytes]:
        shell = ("/bin/sh", "-c", f'ulimit -n {_FILES}; exec "$@"', "sh")
        return Popen([*shell, *arguments], **options)  # noqa: S603 -- our own program

    monkeypatch.setattr("testkit.processes.subprocess.Popen", limited)
    deployment = await deploy(replace(settings, kafka_topic=topic))
    async with replica(deployment, tmp_path) as one, load_on(one) as load:
        await poll_until(lambda: load.reaches(20))
        held = [await asyncio.open_connection("127.0.0.1", one.port) for _ in range(2 * _FILES)]
        made = len(load.made)
        await poll_until(lambda: load.reaches(made + 50))
        for _, writer in held:
            writer.close()
        load.stopping = True
        await poll_until(lambda: _is_published(postgres))
        assert "Too many open files" not in one.process.errors
    assert load.failures == []


async def _is_published(postgres: Postgres) -> bool:
    return await waiting(postgres) == 0
