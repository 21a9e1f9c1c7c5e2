"""`projectkeys dev`: the addresses that it listens on, and the servers that it starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from service.cli import dev
from service.dev.ports import free_port
from service.settings import Settings
from testkit.polling import poll_until
from tests.processes import running


@pytest.mark.parametrize(
    ("host", "is_reachable"),
    [
        pytest.param({}, False, id="HOST is not set"),
        pytest.param({"HOST": ""}, False, id="HOST is empty"),
        pytest.param({"HOST": "0.0.0.0"}, True, id="HOST is every address"),  # noqa: S104 -- what is tested
    ],
)
async def test_both_ports_are_reachable_by_127_0_0_1_alone_unless_host_is_set(
    host: dict[str, str], *, is_reachable: bool, settings: Settings, tmp_path: Path
) -> None:
    """127.0.0.2 stands for every other address of the machine."""
    ports = free_port(), free_port()
    environment = {
        "PORT": str(ports[0]),
        "OPS_PORT": str(ports[1]),
        "DATABASE_URL": settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "KAFKA_TOPIC": f"dev-{uuid4().hex}",
        **host,
    }
    async with running("dev", environment=environment, directory=tmp_path) as process:

        async def is_started() -> bool:
            assert process.running, process.errors
            return "Ctrl-C stops everything." in process.output

        await poll_until(is_started, timeout=20)
        assert [await _accepts("127.0.0.1", port) for port in ports] == [True, True]
        assert [await _accepts("127.0.0.2", port) for port in ports] == [is_reachable, is_reachable]


async def test_no_embedded_kafka_is_started_if_a_file_contains_the_bootstrap_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``KAFKA_BOOTSTRAP_SERVERS_FILE`` has the same effect as ``KAFKA_BOOTSTRAP_SERVERS``."""
    requested: dict[str, object] = {}

    @asynccontextmanager
    async def embedded_servers(_data: Path, **options: object) -> AsyncIterator[None]:
        requested.update(options)
        yield

    monkeypatch.setattr(dev, "_import_embedded_servers", lambda: embedded_servers)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS_FILE", "/run/secrets/servers")
    settings = Settings(database_url="postgresql://host/keys", kafka_bootstrap_servers=("host:9092",))
    async with dev._servers(settings, tmp_path) as started:
        assert started.kafka_bootstrap_servers == ("host:9092",)
    assert (requested["postgres"], requested["kafka"]) == (False, False)


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
