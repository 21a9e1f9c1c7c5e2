"""Keys by the hundred, written behind the service's back: without events, audit or secrets that matter."""

from tests.outbox import Postgres

_INSERT = """
    INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options)
    SELECT $1::bigint, 'Key ' || number, md5(format('public %s %s', $1::bigint, number)),
           md5(format('secret %s %s', $1::bigint, number)),
           '{"hasReplay": true, "hasPerformance": true, "hasDebug": false, "hasFeedback": false,
             "hasLogsAndMetrics": false}'
    FROM generate_series(1, $2::int) AS number
    RETURNING public_key
"""


async def write_keys(postgres: Postgres, project_id: int, number: int) -> list[str]:
    """So many keys of a project; returns their public keys. Once for a project: they would be the same again."""
    return [row["public_key"] for row in await postgres.fetch(_INSERT, project_id, number)]
