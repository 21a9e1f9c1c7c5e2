"""What happens to a running service when an operator changes its surroundings: no restart, no 500."""

import fcntl
import json
import os
import signal
import struct
import termios
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout

from service.settings import Settings
from testkit.polling import poll_until
from tests.processes import DeployedReplica, deploy


def _events(replica: DeployedReplica) -> list[str]:
    return [json.loads(line)["event"] for line in replica.log_lines()]


async def test_a_wrong_database_is_logged_once_and_corrected_without_a_restart(
    settings: Settings, topic: str, tmp_path: Path
) -> None:
    """All parts need Postgres; the log names the address and the reason, and no part adds lines of its own."""
    deployment = await deploy(settings)
    url = tmp_path / "url"
    url.write_text("postgresql://service:hunter2@127.0.0.1:1/keys")
    replica = DeployedReplica(deployment, tmp_path, "serve", KAFKA_TOPIC=topic, DATABASE_URL_FILE=str(url))
    del replica.environment["DATABASE_URL"]
    replica.start()
    try:
        await poll_until(lambda: _is_logged(replica, "postgres_unavailable"), timeout=20)
        status, body = await replica.readyz()
        assert (status, body["status"]) == (503, "unready")
        assert "refused" in body["checks"]["postgres"]
        url.write_text(settings.database_url)
        await replica.wait_until_ready()
        await poll_until(lambda: _is_logged(replica, "postgres_recovered"), timeout=20)
    finally:
        replica.kill()
    lines = [json.loads(line) for line in replica.log_lines()]
    [unavailable] = [line for line in lines if line["event"] == "postgres_unavailable"]
    assert (unavailable["host"], unavailable["port"], unavailable["attempt"]) == ("127.0.0.1", "1", 1)
    assert "hunter2" not in json.dumps(lines)
    noise = {"leases_not_renewed", "outbox_unreachable", "job_poll_failed", "postgres_listen_failed"}
    assert noise.isdisjoint(_events(replica))
    assert _events(replica).count("postgres_recovered") == 1


async def test_a_blocked_reader_of_the_log_stops_neither_requests_nor_the_shutdown(
    settings: Settings, topic: str, tmp_path: Path
) -> None:
    """The pipe is full after some hundred requests; the metrics of the process are served too."""
    deployment = await deploy(settings)
    replica = DeployedReplica(deployment, tmp_path, "serve", KAFKA_TOPIC=topic)
    replica.log = tmp_path / "pipe"
    os.mkfifo(replica.log)
    reader = os.open(replica.log, os.O_RDWR)  # both ends, so that the process can open its own
    replica.start()
    try:
        await replica.wait_until_ready()
        async with ClientSession(timeout=ClientTimeout(5)) as session:
            for _ in range(600):
                async with session.get(f"http://127.0.0.1:{replica.port}/{'x' * 200}") as response:
                    assert response.status == 404
            async with session.get(f"http://127.0.0.1:{replica.ops_port}/metrics") as response:
                served = await response.text()
        [unread] = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))
        assert unread < 600 * 200, "the pipe is full: it has less than the paths of the requests"
        replica.process.signal(signal.SIGTERM)
        assert await replica.process.wait_for_exit(timeout=10) == 0
    finally:
        replica.kill()
        os.close(reader)
    for name in (
        "process_resident_memory_bytes",
        "python_info{",
        'projectkeys_build_info{version="0.1.0"} 1.0',
        "projectkeys_log_lines_dropped_total 0.0",
        'projectkeys_dependency_up{dependency="kafka"} 1.0',
        'projectkeys_dependency_up{dependency="postgres"} 1.0',
    ):
        assert name in served


async def _is_logged(replica: DeployedReplica, event: str) -> bool:
    return event in _events(replica)
