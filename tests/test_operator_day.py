"""What happens to a running service when an operator changes its surroundings: no restart, no 500."""

import json
from pathlib import Path

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


async def _is_logged(replica: DeployedReplica, event: str) -> bool:
    return event in _events(replica)
