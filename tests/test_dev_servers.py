"""The embedded servers: their data is kept, and they end with the process that started them."""

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from projectkeys_servers import lock
from projectkeys_servers.errors import EmbeddedServerError
from projectkeys_servers.jars import Jar, find_missing_jars, move_to_cache, read_jar_list
from projectkeys_servers.kafka import EmbeddedKafka
from projectkeys_servers.postgres import EmbeddedPostgres
from projectkeys_servers.process import ServerProcess
from projectkeys_servers.servers import Servers, embedded_servers

_ROOT = Path(__file__).parents[1]
_CACHE = _ROOT / ".cache"
_TOPIC = "survivor"

# Runs both servers until it is killed. It pauses Kafka, which then reacts to no signal but SIGKILL.
_PARENT = f"""
import asyncio, os, signal, sys
from pathlib import Path
from projectkeys_servers.process import ServerProcess
from projectkeys_servers.servers import embedded_servers

async def main():
    async with embedded_servers(
        Path(sys.argv[1]), cache_dir=Path({str(_CACHE)!r}), report=lambda text: print(text, flush=True)
    ) as servers:
        os.kill(servers.kafka.pid, signal.SIGSTOP)
        print("up", servers.postgres.pid, servers.kafka.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def _servers(directory: Path, reports: list[str] | None = None) -> Servers:
    report = ([] if reports is None else reports).append
    return Servers(
        EmbeddedPostgres(directory / "postgres", report=report),
        EmbeddedKafka(directory / "kafka", cache_dir=_CACHE, report=report),
    )


@pytest.fixture(scope="module")
async def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of both servers, which are stopped, with one row and one record."""
    directory = tmp_path_factory.mktemp("servers")
    async with embedded_servers(directory, cache_dir=_CACHE, report=print) as servers:
        await _write(servers)
    return directory


@contextlib.asynccontextmanager
async def _parent(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PARENT,
        str(directory),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), 10)


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def _line(process: asyncio.subprocess.Process, word: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        async for line in process.stdout:
            if line.decode().startswith(word):
                return line.decode()
    raise AssertionError(f"It ended without printing {word!r}.")


async def _write(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.postgres.url)
    await connection.execute("CREATE TABLE survivor AS SELECT 42 AS answer")
    await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(_TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers.kafka.bootstrap_servers, acks="all")
    await producer.start()
    await producer.send_and_wait(_TOPIC, b"42", partition=0)
    await producer.stop()


async def _read(servers: Servers) -> tuple[int, bytes]:
    connection = await asyncpg.connect(servers.postgres.url)
    answer = await connection.fetchval("SELECT answer FROM survivor")
    await connection.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=servers.kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(_TOPIC, 0)])
    record = await asyncio.wait_for(consumer.getone(), 10)
    await consumer.stop()
    return answer, record.value


async def test_data_survives_a_stop_and_a_kill(directory: Path) -> None:
    """Acknowledged data is present after a clean stop, and after SIGKILL of both servers."""
    async with embedded_servers(directory, cache_dir=_CACHE, report=print) as servers:
        assert await _read(servers) == (42, b"42")
        servers.postgres.kill()
        servers.kafka.kill()
        await asyncio.gather(servers.postgres.start(), servers.kafka.start())
        assert await _read(servers) == (42, b"42")


async def test_no_server_outlives_a_killed_parent(directory: Path) -> None:
    """SIGKILL of the process that started them ends both servers, even a paused Kafka, and they recover."""
    async with _parent(directory) as process:
        pids = [int(word) for word in (await _line(process, "up")).split()[1:]]
        assert _alive(pids) == pids
        process.kill()
        deadline = time.monotonic() + 5
        while _alive(pids) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert _alive(pids) == []
    async with embedded_servers(directory, cache_dir=_CACHE, report=print) as servers:
        assert await _read(servers) == (42, b"42")


async def test_ctrl_c_during_the_first_start_leaves_no_process_and_no_incomplete_data(tmp_path: Path) -> None:
    """After an interrupted creation of the cluster, the next start creates it again."""
    async with _parent(tmp_path) as process:
        await _line(process, "Creating a PostgreSQL cluster")
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 10)
    # Every process of a server holds its lock.
    for name in ("postgres", "kafka"):
        os.close(await lock.take(tmp_path / name, limit=2))
    postgres = _servers(tmp_path).postgres
    await postgres.start()
    await postgres.stop()


async def test_a_directory_in_use_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a second server names the directory and the process."""
    monkeypatch.setattr("projectkeys_servers.postgres._LOCK_TIMEOUT", 0.1)
    first, second = _servers(directory).postgres, _servers(directory).postgres
    await first.start()
    with pytest.raises(EmbeddedServerError, match=f"{directory}/postgres is in use by the process {os.getpid()}"):
        await second.start()
    await first.stop()


async def test_a_port_is_kept_until_another_program_uses_it(directory: Path) -> None:
    """The port is the same in the next run; a port in use is replaced, and reported to the user."""
    file, reports = directory / "postgres" / "port", list[str]()
    postgres = _servers(directory, reports).postgres
    port = int(file.read_text())
    await postgres.start()
    assert f":{port}/" in postgres.url
    await postgres.stop()
    with socket.create_server(("127.0.0.1", port)):
        await postgres.start()
        await postgres.stop()
    assert int(file.read_text()) != port
    assert reports == [
        f"Port {port} is in use by another program; PostgreSQL uses port {file.read_text().strip()} from now on."
    ]


async def test_kafka_moves_to_other_ports_with_its_data(directory: Path) -> None:
    """A broker whose ports are in use starts on others, with its records."""
    ports = [int((directory / "kafka" / name).read_text()) for name in ("port", "controller-port")]
    with socket.create_server(("127.0.0.1", ports[0])), socket.create_server(("127.0.0.1", ports[1])):
        async with embedded_servers(directory, cache_dir=_CACHE, report=print) as servers:
            assert await _read(servers) == (42, b"42")


async def test_a_failed_start_shows_the_log(tmp_path: Path) -> None:
    """The error of a server that cannot start contains the path and the last lines of its log."""
    postgres = _servers(tmp_path).postgres
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(EmbeddedServerError, match=r"postgres ended with status \d") as caught:
        await postgres.start()
    assert f"{tmp_path}/postgres/postgres.log:\n" in str(caught.value)
    assert "postgresql.conf" in str(caught.value)


async def test_a_server_that_ignores_signals_is_killed_without_blocking_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process can need seconds to end, in which other tasks must run."""

    def wait(*_: object) -> None:
        raise AssertionError("it blocks")

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    log = tmp_path / "server.log"
    process = ServerProcess(log=log, death_signal=signal.SIGKILL)
    lock_fd = await lock.take(tmp_path, limit=1)
    process.launch(["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], lock=lock_fd)
    os.close(lock_fd)

    async def is_up() -> bool:
        return log.read_text() == "up\n"

    await process.until_ready(is_up, limit=20)
    await process.stop(signal.SIGTERM, limit=0.1)
    assert _alive([process.pid]) == []


def test_a_jar_with_a_wrong_hash_is_rejected(tmp_path: Path) -> None:
    """The error names the jar, and the cache stays empty."""
    download = tmp_path / "download"
    download.write_bytes(b"not the jar")
    jar = Jar("org.example:thing:1.0", hashlib.sha256(b"the jar").hexdigest(), 7)
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(EmbeddedServerError, match=re.escape(jar.coordinate)):
        move_to_cache(download, jar, cache)
    assert list(cache.iterdir()) == []


def test_a_cached_jar_that_was_changed_is_not_used(tmp_path: Path) -> None:
    """A jar in the cache must have the hash of the list."""
    download = tmp_path / "download"
    download.write_bytes(b"the jar")
    jar = Jar("org.example:thing:1.0", hashlib.sha256(b"the jar").hexdigest(), 7)
    move_to_cache(download, jar, tmp_path)
    assert find_missing_jars([jar], tmp_path) == []
    (tmp_path / jar.file_name).write_bytes(b"thy jar")
    assert find_missing_jars([jar], tmp_path) == [jar]


def test_every_jar_of_the_list_has_a_file_name_of_its_own() -> None:
    """No two jars overwrite each other in the cache."""
    jars = read_jar_list()
    assert len({jar.file_name for jar in jars}) == len(jars) > 40
    assert "kafka_2.13-4.3.1.jar" in {jar.file_name for jar in jars}
