"""The rival of every create: pgbench, which writes the same rows in one statement and does nothing else."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.processes import BenchError, output_of

_CONNECTING: Final = 1
"""Seconds that pgbench needs to connect its clients, which it takes from its time and leaves out of its rate."""

_TPS: Final = re.compile(r"^tps = ([\d.]+) \(without initial connection time\)$", re.MULTILINE)
_COUNT: Final = re.compile(r"^number of transactions actually processed: (\d+)$", re.MULTILINE)
_FAILED: Final = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)

TENANT: Final = """
    WITH tenant AS (INSERT INTO organization (slug, name) VALUES ('bench', 'bench') RETURNING id)
    INSERT INTO project (organization_id, slug, name) SELECT id, 'floor', 'floor' FROM tenant
"""
"""Makes the organization 1 and the project 1 of an empty database."""

SCRIPT: Final = """\
WITH new_key AS (
    INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options, created_at, updated_at)
    VALUES (1, 'Fabulous Key', md5(random()::text), md5(random()::text),
            '{"hasReplay": true, "hasPerformance": true, "hasDebug": false, "hasFeedback": false,\
"hasLogsAndMetrics": false}', now(), now())
    RETURNING public_key, version, created_at
),
new_event AS (
    INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
    SELECT gen_random_uuid(), public_key, 'projectkey.created', version, floor(random() * 12),
           '{"id": "0123456789abcdef0123456789abcdef", "version": 1, "organizationId": 1, "projectId": 1,\
"name": "Fabulous Key", "isActive": true, "rateLimit": null,\
"dsn": {"public": "http://0123456789abcdef0123456789abcdef@127.0.0.1:9000/1"}, "browserSdkVersion": "10.x",\
"dynamicSdkLoaderOptions": {"hasReplay": true, "hasPerformance": true, "hasDebug": false, "hasFeedback": false,\
"hasLogsAndMetrics": false}, "dateCreated": "2026-01-01T00:00:00.000000Z"}',
           '{"x-request-id": "0123456789abcdef0123456789abcdef"}', created_at
    FROM new_key
    RETURNING id, aggregateid, seq, created_at
),
new_audit_entry AS (
    INSERT INTO audit_entry (
        organization_id, project_id, token_id, action, target, request_id, remote_address, data, change_id,
        created_at
    )
    SELECT 1, 1, 1, 'projectkey.create', aggregateid, '0123456789abcdef0123456789abcdef', '127.0.0.1',
           '{"name": "Fabulous Key", "rateLimit": null}', id, created_at
    FROM new_event
)
SELECT aggregateid, seq FROM new_event;
"""
"""A colon before a letter would be a variable of pgbench's: the texts have a space there."""


async def pgbench(program: Path, script: Path, url: str, *, clients: int, seconds: int) -> tuple[float, int]:
    """Transactions a second, connecting not counted, and how many there were.

    Args:
        program: pgbench itself.
        script: a file that holds `SCRIPT`.
        url: the database.
        clients: connections, each of which sends its next statement when the answer has come.
        seconds: how long.

    Raises:
        BenchError: it failed.
    """
    printed = await output_of(
        *(str(program), "--no-vacuum", "--protocol=prepared", "--jobs=1", f"--client={clients}"),
        *(f"--time={seconds + _CONNECTING}", f"--file={script}"),
        environment=_connection(url),
        limit=seconds + 30.0,
    )
    rate, count, failed = _TPS.search(printed), _COUNT.search(printed), _FAILED.search(printed)
    if rate is None or count is None or failed is None or failed[1] != "0":
        raise BenchError(f"pgbench did not do its work:\n{printed}")
    return float(rate[1]), int(count[1])


def _connection(url: str) -> dict[str, str]:
    """In the environment, for arguments can be read by everybody."""
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.lstrip("/"),
    }
