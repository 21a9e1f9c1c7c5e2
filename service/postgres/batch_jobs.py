"""The table batch_job: jobs that any replica executes, one batch per transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from service.domain.jobs import JobState
from service.domain.model import Origin
from service.postgres.database import Connection


class JobKind(StrEnum):
    """The kinds of jobs."""

    PROJECT_DELETE = "project.delete"
    DSN_CHANGE = "dsn.change"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to insert.

    ``organization_id`` and ``project_id`` None mean all. ``made_since`` excludes keys created earlier. ``delay`` is
    the time until the first batch. ``rate`` is in keys per second, None for no limit. ``total`` counts the keys.
    """

    kind: JobKind
    origin: Origin
    organization_id: int | None = None
    project_id: int | None = None
    made_since: datetime | None = None
    delay: timedelta = timedelta()
    rate: int | None = None
    total: int | None = None


_INSERT: Final = """
    INSERT INTO batch_job (
        kind, organization_id, project_id, made_since, starts_at, rate, total, token_id, request_id
    )
    VALUES ($1, $2, $3, $4, clock_timestamp() + $5::interval, $6, $7, $8, $9)
    RETURNING id
"""


async def insert_job(connection: Connection, job: NewJob) -> int:
    """Insert a job in the transaction of the change that requires it; return its id."""
    return int(
        await connection.fetchval(
            _INSERT,
            job.kind,
            job.organization_id,
            job.project_id,
            job.made_since,
            job.delay,
            job.rate,
            job.total,
            job.origin.token_id,
            job.origin.request_id,
        )
    )


_RESTART: Final = """
    UPDATE batch_job
    SET after_id = 0, done = 0, made_since = $3, starts_at = greatest(starts_at, clock_timestamp() + $4::interval),
        token_id = $5, request_id = $6
    WHERE finished_at IS NULL AND kind = $1 AND organization_id = $2
      AND (made_since IS NULL) = ($3::timestamptz IS NULL)
    RETURNING id
"""


async def restart_or_insert_job(connection: Connection, job: NewJob) -> None:
    """Restart the open job of this kind over an organization's keys, or insert it if none is open.

    A job over all keys and a job over the keys made since a time are two jobs. The caller holds the lock of the
    organization's row, so no other transaction inserts one. The update waits for the batch in progress, which holds
    the lock of the job's row: that batch cannot overwrite the restart, and the next batch reads the organization as
    the caller commits it.
    """
    origin = job.origin
    restarted = await connection.fetchval(
        _RESTART,
        job.kind,
        job.organization_id,
        job.made_since,
        job.delay,
        origin.token_id,
        origin.request_id,
    )
    if restarted is None:
        await insert_job(connection, job)


@dataclass(frozen=True, slots=True)
class Job:
    """A job: the keys up to the row id ``after_id`` and the deleted keys up to ``after_deleted`` are processed."""

    id: int
    kind: JobKind
    organization_id: int | None
    project_id: int | None
    made_since: datetime | None
    rate: int | None
    after_id: int
    after_deleted: str | None
    failures: int
    origin: Origin


_LOCK_NEXT: Final = """
    SELECT id, kind, organization_id, project_id, made_since, rate, after_id, after_deleted, failures, token_id,
           request_id
    FROM batch_job
    WHERE finished_at IS NULL AND starts_at <= clock_timestamp()
    ORDER BY coalesce(array_position($1::bigint[], coalesce(organization_id, $2)), 0), starts_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
"""

ALL_ORGANIZATIONS: Final = 0
"""The organization id of jobs without an organization; no organization has this id."""


async def lock_next_job(connection: Connection, served: Sequence[int]) -> Job | None:
    """Lock the next job until the transaction ends; None if no unlocked job is due.

    Args:
        connection: A connection in a transaction.
        served: Ids of organizations, or `ALL_ORGANIZATIONS`, in the order in which they last had a batch. Jobs of
            other organizations precede theirs; within an organization, the job that was due first precedes.
    """
    row = await connection.fetchrow(_LOCK_NEXT, served, ALL_ORGANIZATIONS)
    return None if row is None else _job(row)


_ADVANCE: Final = """
    UPDATE batch_job
    SET after_id = $2, after_deleted = $3, done = done + $4, failures = 0, last_error = NULL,
        finished_at = CASE WHEN $5 THEN clock_timestamp() END,
        starts_at = clock_timestamp() + $6::interval
    WHERE id = $1
"""


async def advance_job(
    connection: Connection, job: Job, *, done: int = 0, finished: bool = False, pause: timedelta
) -> None:
    """Store the progress of a job in the transaction of its batch; the next batch is due after ``pause``."""
    await connection.execute(_ADVANCE, job.id, job.after_id, job.after_deleted, done, finished, pause)


_POSTPONE: Final = """
    UPDATE batch_job
    SET starts_at = clock_timestamp() + $2::interval, last_error = coalesce($3, last_error),
        failures = failures + CASE WHEN $3::text IS NULL THEN 0 ELSE 1 END
    WHERE id = $1
"""


async def postpone_job(connection: Connection, job: Job, *, pause: timedelta, error: str | None = None) -> None:
    """Postpone the next batch of a locked job; ``error`` is the class of the error of a failed batch."""
    await connection.execute(_POSTPONE, job.id, pause, error)


_SECONDS_UNTIL_DUE: Final = """
    SELECT extract(epoch FROM min(starts_at) - clock_timestamp())::float8
    FROM batch_job
    WHERE finished_at IS NULL AND starts_at > clock_timestamp()
"""


async def seconds_until_due(connection: Connection) -> float | None:
    """Return the seconds until the next job becomes due, without the jobs that are due now; None if there is none."""
    seconds: float | None = await connection.fetchval(_SECONDS_UNTIL_DUE)
    return seconds


def _job(row: asyncpg.Record) -> Job:
    values = dict(row.items())
    origin = Origin(token_id=values.pop("token_id"), request_id=values.pop("request_id"))
    return Job(**{**values, "kind": JobKind(row["kind"]), "origin": origin})


_STATE: Final = """
    job.id, job.kind, organization.slug AS organization, project.slug AS project, job.rate, job.done, job.total,
    job.failures, job.last_error,
    greatest(0, extract(epoch FROM job.starts_at - clock_timestamp()))::float8 AS waits,
    job.created_at, job.finished_at, job.cancelled
    FROM batch_job AS job
    LEFT JOIN organization ON organization.id = job.organization_id
    LEFT JOIN project ON project.id = job.project_id
"""

_SELECT_JOB: Final = f"SELECT {_STATE} WHERE job.id = $1"


async def select_job(connection: Connection, job_id: int) -> JobState | None:
    """Return the progress of a job of any tenant; None if there is none."""
    row = await connection.fetchrow(_SELECT_JOB, job_id)
    return None if row is None else JobState(**dict(row.items()))


# By an expression: in the order of the ids, Postgres would read all finished jobs.
_SELECT_UNFINISHED: Final = f"SELECT {_STATE} WHERE job.finished_at IS NULL ORDER BY job.id + 0 LIMIT $1"


async def select_unfinished(connection: Connection, *, limit: int) -> list[JobState]:
    """Return the unfinished jobs of every tenant, oldest first, at most ``limit``."""
    return [JobState(**dict(row.items())) for row in await connection.fetch(_SELECT_UNFINISHED, limit)]


_CANCEL: Final = """
    UPDATE batch_job
    SET finished_at = clock_timestamp(), cancelled = true
    WHERE id = $1 AND kind = 'replay' AND finished_at IS NULL
    RETURNING id
"""


async def cancel_replay(connection: Connection, job_id: int) -> bool:
    """Cancel a replay after its current batch; return False if there is no such unfinished replay."""
    return await connection.fetchval(_CANCEL, job_id) is not None
