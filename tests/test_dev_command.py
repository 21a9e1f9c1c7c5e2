"""`projectkeys dev`: the addresses that it listens on, and the servers that it starts."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from projectkeys_servers.ports import free_port
from service.cli import dev
from service.settings import Settings
from testkit.dev_service import parse_environment_file
from testkit.polling import poll_until
from testkit.processes import Process
from tests.processes import running


@pytest.mark.parametrize(
    ("host", "is_reachable"),
    [
        pytest.param({}, False, id="HOST is not set"),
        pytest.param({"HOST": ""}, False, id="HOST is empty"),
        pytest.param({"HOST": "0.0.0.0"}, True, id="HOST is every address"),  # noqa: S104 -- what is tested
    ],
)
async def test_both_ports_are_reachable_by_the_local_addresses_alone_unless_host_is_set(
    host: dict[str, str], *, is_reachable: bool, settings: Settings, tmp_path: Path
) -> None:
    """127.0.0.2 stands for every other address of the machine."""
    environment = _environment(settings) | host
    async with _started(environment, tmp_path):
        ports = int(environment["PORT"]), int(environment["OPS_PORT"])
        assert [await _accepts("127.0.0.1", port) for port in ports] == [True, True]
        assert [await _accepts("127.0.0.2", port) for port in ports] == [is_reachable, is_reachable]


async def test_a_second_run_does_not_change_the_first(settings: Settings, tmp_path: Path) -> None:
    """In the same directory it is refused; in another one it has its own ports and file, which it deletes."""
    environment = _environment(settings)
    file = tmp_path / ".data" / "dev.env"
    free = dict.fromkeys(("PORT", "OPS_PORT", "EDGE_PORT"), "0")
    async with _started(environment, tmp_path) as first:
        before = file.read_text()
        assert (environment.items() - {("EDGE_PORT", "0")}) <= parse_environment_file(file).items()
        assert "Servers  from the environment: DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS" in first.output
        assert "topic_durability_low" not in first.errors
        beside = parse_environment_file(file) | free | {"TMPDIR": str(tmp_path)}
        async with running("dev", environment=beside, directory=tmp_path) as refused:
            assert await refused.wait_for_exit(timeout=20) == 1
            assert f"{tmp_path}/.data is in use by the process" in refused.errors
            assert "EPHEMERAL=1 PORT=0 OPS_PORT=0 make run" in refused.errors
        async with _started(beside | {"EPHEMERAL": "1"}, tmp_path) as second:
            [own_file] = _ephemeral_files(tmp_path)
            assert str(own_file) in second.output
            variables = parse_environment_file(own_file)
            assert variables["API_URL"].rpartition(":")[2] == variables["PORT"] != environment["PORT"]
            assert variables["EDGE_URL"].rpartition(":")[2] == variables["EDGE_PORT"]
            second.signal(signal.SIGTERM)
            assert await second.wait_for_exit(timeout=20) == 0
        assert _ephemeral_files(tmp_path) == []
        assert file.read_text() == before


def _ephemeral_files(directory: Path) -> list[Path]:
    return list(directory.glob("projectkeys-*/dev.env"))


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "PORT": str(free_port()),
        "OPS_PORT": str(free_port()),
        "EDGE_PORT": "0",
        "DATABASE_URL": settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "KAFKA_TOPIC": f"dev-{uuid4().hex}",
    }


@asynccontextmanager
async def _started(environment: dict[str, str], directory: Path) -> AsyncIterator[Process]:
    async with running("dev", environment=environment, directory=directory) as process:

        async def is_started() -> bool:
            assert process.running, process.errors
            return "Ctrl-C stops everything." in process.output

        await poll_until(is_started, timeout=20)
        yield process


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
