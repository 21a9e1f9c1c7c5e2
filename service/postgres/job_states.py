"""The table batch_job, as people look at it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class JobState:
    """How far work has come.

    ``organization`` and ``project`` are slugs, None for all of them or where they are gone. ``total`` is how many
    keys there were at the beginning, None where nobody counted; ``failures`` how many batches have failed one after
    another, ``last_error`` the kind of the last one's error. ``waits`` is for how many seconds nothing is to happen.
    """

    id: int
    kind: str
    organization: str | None
    project: str | None
    rate: int | None
    done: int
    total: int | None
    failures: int
    last_error: str | None
    waits: float
    created_at: datetime
    finished_at: datetime | None
    cancelled: bool


_STATE: Final = """
    job.id, job.kind, organization.slug AS organization, project.slug AS project, job.rate, job.done, job.total,
    job.failures, job.last_error,
    greatest(0, extract(epoch FROM job.starts_at - clock_timestamp()))::float8 AS waits,
    job.created_at, job.finished_at, job.cancelled
    FROM batch_job AS job
    LEFT JOIN organization ON organization.id = job.organization_id
    LEFT JOIN project ON project.id = job.project_id
"""

_SELECT_ONE: Final = f"SELECT {_STATE} WHERE job.id = $1"


async def select_job(connection: Connection, job_id: int) -> JobState | None:
    """How far a job has come, whosever it is; None if there is none."""
    row = await connection.fetchrow(_SELECT_ONE, job_id)
    return None if row is None else JobState(**dict(row.items()))


_SELECT_UNFINISHED: Final = f"SELECT {_STATE} WHERE job.finished_at IS NULL ORDER BY job.id LIMIT $1"


async def select_unfinished(connection: Connection, *, limit: int) -> list[JobState]:
    """Every tenant's work that is not done, oldest first, at most ``limit``."""
    return [JobState(**dict(row.items())) for row in await connection.fetch(_SELECT_UNFINISHED, limit)]


_CANCEL: Final = """
    UPDATE batch_job
    SET finished_at = clock_timestamp(), cancelled = true
    WHERE id = $1 AND kind = 'replay' AND finished_at IS NULL
    RETURNING id
"""


async def cancel_replay(connection: Connection, job_id: int) -> bool:
    """End a replay before its end, after the batch that is under way; False if no such replay is under way."""
    return await connection.fetchval(_CANCEL, job_id) is not None


_COUNT: Final = """
    SELECT (
        SELECT count(*)
        FROM project_key AS key
        JOIN project ON project.id = key.project_id
        WHERE ($1::bigint IS NULL OR project.organization_id = $1) AND ($2::bigint IS NULL OR key.project_id = $2)
    ) + (
        SELECT count(*)
        FROM deleted_key
        WHERE ($1::bigint IS NULL OR organization_id = $1) AND ($2::bigint IS NULL OR project_id = $2)
    )
"""

_COUNT_WITHIN: Final = timedelta(seconds=60)
"""Ten million rows take some seconds, more than a request's statements may."""


async def count_keys(connection: Connection, *, organization_id: int | None, project_id: int | None) -> int:
    """How many keys, deleted ones among them, a project, an organization or all have; in a transaction."""
    seconds = _COUNT_WITHIN.total_seconds()
    await connection.execute(f"SET LOCAL statement_timeout = '{seconds:g}s'")
    return int(await connection.fetchval(_COUNT, organization_id, project_id, timeout=seconds))
