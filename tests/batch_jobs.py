"""Batch jobs as a test drives them, and keys by the hundred for them, written behind the service's back."""

from service.app import Service
from tests.outbox import Postgres, waiting

_INSERT = """
    INSERT INTO project_key (project_id, label, public_key, secret_key, loader_options)
    SELECT $1::bigint, 'Key ' || number, md5(format('public %s %s', $1::bigint, number)),
           md5(format('secret %s %s', $1::bigint, number)),
           '{"hasReplay": true, "hasPerformance": true, "hasDebug": false, "hasFeedback": false,
             "hasLogsAndMetrics": false}'
    FROM generate_series(1, $2::int) AS number
    RETURNING public_key
"""

_MOST_STEPS = 100


async def write_keys(postgres: Postgres, project_id: int, number: int) -> list[str]:
    """So many keys of a project, without events; once for a project: they would be the same again."""
    return [row["public_key"] for row in await postgres.fetch(_INSERT, project_id, number)]


async def finish(service: Service, postgres: Postgres) -> list[int]:
    """Do all there is to do, also what is to wait; returns how many events each batch wrote."""
    written: list[int] = []
    before = await waiting(postgres)
    for _ in range(_MOST_STEPS):
        if not await postgres.fetchval("SELECT EXISTS (SELECT FROM batch_job WHERE finished_at IS NULL)"):
            return written
        await make_due(postgres)
        assert await service.jobs.step()
        after = await waiting(postgres)
        written.append(after - before)
        before = after
    raise AssertionError(f"not finished after {_MOST_STEPS} batches")


async def make_due(postgres: Postgres) -> None:
    """Move the clock to where every job is due, in their order."""
    await postgres.execute("UPDATE batch_job SET starts_at = starts_at - interval '1 hour'")


async def put_off_by(service: Service, postgres: Postgres, job_id: int = 1) -> tuple[float, float]:
    """Do a batch; for how many seconds the job then waits, as seen from before the batch and from after it.

    However slow the machine is: the first is more than was meant, the second less.
    """
    before = await postgres.fetchval("SELECT clock_timestamp()")
    assert await service.jobs.step()
    row = await postgres.fetchrow("SELECT starts_at, clock_timestamp() AS after FROM batch_job WHERE id = $1", job_id)
    assert row is not None
    starts_at = row["starts_at"]
    return (starts_at - before).total_seconds(), (starts_at - row["after"]).total_seconds()


async def outbox_events(postgres: Postgres) -> list[tuple[str, str, int]]:
    """Return the key, type and version of each event in the outbox, in order."""
    rows = await postgres.fetch("SELECT aggregateid, type, version FROM outbox ORDER BY seq")
    return [(row["aggregateid"], row["type"], row["version"]) for row in rows]


async def wait_for_locks(postgres: Postgres, number: int = 1) -> bool:
    """Whether so many wait for a lock in the test's database."""
    await postgres.execute("SELECT pg_stat_clear_snapshot()")  # a transaction goes on seeing its first look
    waiting_now: int = await postgres.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return waiting_now == number
