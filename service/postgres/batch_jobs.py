"""The table batch_job: work that is done a batch at a time, by whichever replica is free."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from service.domain.model import Origin
from service.postgres.database import Connection


class JobKind(StrEnum):
    """What there is to do."""

    PROJECT_DELETE = "project.delete"
    DSN_CHANGE = "dsn.change"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Work to be done.

    ``organization_id`` and ``project_id`` None are all of them; ``made_since`` leaves out older keys; ``delay`` is
    waited for first; ``rate`` is in keys a second, None for as fast as it goes; ``total`` is how many keys there are.
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
    """Write down work, in the transaction of what makes it necessary; returns its id."""
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
    """Work under way: keys up to the row id ``after_id`` are done, then deleted ones up to ``after_deleted``."""

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
"""Stands for the organization's id where a job belongs to none; no organization has this id."""


async def lock_next_job(connection: Connection, served: Sequence[int]) -> Job | None:
    """Lock the job whose turn it is until the transaction ends; None if no unlocked job is due.

    Args:
        connection: in a transaction.
        served: ids of organizations, or `ALL_ORGANIZATIONS`, in the order in which they last had a batch. Jobs of
            other organizations precede theirs; of one organization, the job that has been due for longest is first.
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
    """Write down how far a job has come, in the transaction of the batch; the next may come after ``pause``."""
    await connection.execute(_ADVANCE, job.id, job.after_id, job.after_deleted, done, finished, pause)


_POSTPONE: Final = """
    UPDATE batch_job
    SET starts_at = clock_timestamp() + $2::interval, last_error = coalesce($3, last_error),
        failures = failures + CASE WHEN $3::text IS NULL THEN 0 ELSE 1 END
    WHERE id = $1
"""


async def postpone_job(
    connection: Connection, job: Job, *, pause: timedelta, failed: str | None = None
) -> None:
    """Let a locked job wait for ``pause``; ``failed`` says why its batch did, None if nothing did."""
    await connection.execute(_POSTPONE, job.id, pause, failed)


_NEXT_DUE: Final = """
    SELECT extract(epoch FROM min(starts_at) - clock_timestamp())::float8
    FROM batch_job
    WHERE finished_at IS NULL AND starts_at > clock_timestamp()
"""


async def next_due(connection: Connection) -> float | None:
    """Seconds until work is due that is not yet; None if there is none."""
    seconds: float | None = await connection.fetchval(_NEXT_DUE)
    return seconds


def _job(row: asyncpg.Record) -> Job:
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        organization_id=row["organization_id"],
        project_id=row["project_id"],
        made_since=row["made_since"],
        rate=row["rate"],
        after_id=row["after_id"],
        after_deleted=row["after_deleted"],
        failures=row["failures"],
        origin=Origin(token_id=row["token_id"], request_id=row["request_id"]),
    )
