"""The pgbench baseline of the benchmark writes the columns that the service writes."""

from bench import pgbench_baseline
from service.app import Service
from service.domain.model import NewProjectKey
from tests.conftest import ORIGIN
from tests.outbox import Postgres

_COLUMNS = """
    SELECT (SELECT array_agg(key ORDER BY key) FROM jsonb_each(to_jsonb(project_key)) WHERE value <> 'null') AS key,
           (SELECT array_agg(key ORDER BY key) FROM jsonb_each(to_jsonb(outbox)) WHERE value <> 'null') AS event,
           (SELECT array_agg(key ORDER BY key) FROM jsonb_each(to_jsonb(audit_entry)) WHERE value <> 'null') AS entry
    FROM project_key
    JOIN outbox ON outbox.aggregateid = project_key.public_key
    JOIN audit_entry ON audit_entry.target = project_key.public_key
    WHERE project_key.public_key = $1
"""
"""Selects the columns with values in the three rows of a key."""


async def test_pgbench_fills_the_columns_that_the_service_fills(service: Service, postgres: Postgres) -> None:
    """Otherwise the ratio would compare different work. Columns about the client are filled by the service only."""
    await postgres.execute(pgbench_baseline.INSERT_TENANT)
    public_key, _ = await postgres.fetchrow(pgbench_baseline.SCRIPT.rstrip().removesuffix(";")) or ("", 0)
    project = await service.use_cases.projects.get("bench", "baseline")
    created = await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
    baseline = await postgres.fetchrow(_COLUMNS, public_key)
    own = await postgres.fetchrow(_COLUMNS, created.key.public_key)
    assert baseline is not None
    assert own is not None
    for row in ("key", "event", "entry"):
        assert set(own[row]) <= set(baseline[row])
