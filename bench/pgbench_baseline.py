"""The baselines of every create: pgbench, which writes the rows in one statement and does nothing else."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.programs import BenchError, run_program

_CONNECT_TIMES: Final = (1, 5, 20)
"""Seconds in which pgbench connects its clients: part of its duration, but not of its rate.

The longer ones are used on a busy machine: if no time is left after the connects, pgbench executes nothing.
"""

_TPS: Final = re.compile(r"^tps = ([\d.]+) \(without initial connection time\)$", re.MULTILINE)
_COUNT: Final = re.compile(r"^number of transactions actually processed: (\d+)$", re.MULTILINE)
_FAILED: Final = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)

INSERT_TENANT: Final = """
    WITH tenant AS (INSERT INTO organization (slug, name) VALUES ('bench', 'bench') RETURNING id)
    INSERT INTO project (organization_id, slug, name) SELECT id, 'baseline', 'baseline' FROM tenant
"""
"""Inserts organization 1 and project 1 into an empty database with the service's schema."""

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
"""The rows of the service on its own schema.

The texts have a space after each colon: a colon before a letter starts a variable of pgbench.
"""


async def pgbench(program: Path, script: Path, url: str, *, clients: int, seconds: int) -> tuple[float, int]:
    """Run pgbench; return transactions per second, without the time to connect, and their number.

    Args:
        program: The path of pgbench.
        script: A file that contains the statement.
        url: The database.
        clients: The number of connections, each with one statement at a time.
        seconds: The duration.

    Raises:
        BenchError: It failed.
    """
    for connect_time in _CONNECT_TIMES:
        output = await run_program(
            *(str(program), "--no-vacuum", "--protocol=prepared", "--jobs=1", f"--client={clients}"),
            *(f"--time={seconds + connect_time}", f"--file={script}"),
            environment=_connection_variables(url),
            timeout=seconds + 60.0,
        )
        rate, count, failed = _TPS.search(output), _COUNT.search(output), _FAILED.search(output)
        if rate is not None and count is not None and failed is not None and failed[1] == "0":
            return float(rate[1]), int(count[1])
    raise BenchError(f"unexpected output of pgbench:\n{output}")


def _connection_variables(url: str) -> dict[str, str]:
    """Return the environment variables: every user of the machine can read arguments."""
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.lstrip("/"),
    }
