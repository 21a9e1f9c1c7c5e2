"""Executes batch jobs: changes of more keys than one request can change, in one transaction per batch."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from service.concurrency.backoff import Backoff
from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.metrics import JobMetrics
from service.postgres.batch_jobs import (
    ALL_ORGANIZATIONS,
    Job,
    JobKind,
    advance_job,
    lock_next_job,
    postpone_job,
    seconds_until_due,
)
from service.postgres.database import Connection
from service.postgres.deleted_keys import lock_deleted_keys
from service.postgres.failures import remove_values
from service.postgres.idempotency import delete_expired
from service.postgres.key_locks import KeyRange, LockedKey, lock_keys
from service.postgres.projects import ProjectNotEmptyError, delete_project
from service.postgres.sessions import delete_expired_sessions
from service.usecases.bulk_changes import BATCH_SIZE, BulkChanges, is_outbox_full
from service.usecases.writes import WriteContext

_log = structlog.get_logger(__name__)

_POLL_INTERVAL: Final = 2.0
"""Seconds between two polls for jobs that another replica or a command has inserted."""

_FULL_OUTBOX_PAUSE: Final = timedelta(seconds=0.1)

_LATE_KEYS_PAUSE: Final = timedelta(seconds=1)
"""Pause before a deletion starts again because a create has added a key to the project."""

_BACKOFF: Final = Backoff(first=1.0, longest=60.0)
"""Delays before a failed batch is retried."""

_CLEANUP_INTERVAL: Final = 60.0
"""Seconds between two deletions of expired idempotency keys and sessions."""

_CLEANUP_BATCH_SIZE: Final = 1_000

_MAX_SERVED: Final = 1_000
"""Number of organizations whose last turn is stored; the others precede them."""


class Jobs:
    """Executes the jobs of the table batch_job.

    Organizations take turns after each batch, so the jobs of an organization do not delay those of others by their
    number.
    """

    def __init__(self, context: WriteContext, metrics: JobMetrics) -> None:
        self._database = context.database
        self._bulk_changes = BulkChanges(context.events)
        self._on_committed = context.on_committed
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._next_cleanup = 0.0
        # Ids of organizations in the order of their last turns.
        self._served: dict[int, None] = {}

    def wake(self) -> None:
        """Poll for jobs now."""
        self._woken.set()

    async def run(self) -> None:
        """Execute jobs until cancelled."""
        while True:
            self._woken.clear()
            try:
                pause = await self._round()
            except UnavailableError as error:
                _log.log(error.log_level, "job_poll_failed", error=str(error))
                pause = _POLL_INTERVAL
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _round(self) -> float:
        """Execute every due job; return the seconds until the next poll."""
        loop, working = asyncio.get_running_loop(), True
        while working:
            working = await self.step()
            if loop.time() >= self._next_cleanup:
                await self.delete_expired()
                self._next_cleanup = loop.time() + _CLEANUP_INTERVAL
        async with self._database.connection() as connection:
            seconds = await seconds_until_due(connection)
        return _POLL_INTERVAL if seconds is None else min(_POLL_INTERVAL, max(0.0, seconds))

    async def step(self) -> bool:
        """Execute a batch in a transaction; return whether a job was due.

        A failed batch is rolled back and retried after a delay; other jobs continue meanwhile.

        Raises:
            UnavailableError: The database cannot be reached; the batch will be retried.
        """
        async with self._database.transaction() as connection:
            job = await lock_next_job(connection, list(self._served))
            if job is None:
                return False
            self._mark_served(job)
            try:
                async with connection.transaction():
                    rows = await self._execute_batch(connection, job)
            except Exception as error:  # noqa: BLE001 -- the other jobs must continue
                await self._postpone_failed(connection, job, error)
                return True
        self._metrics.keys.labels(job.kind).inc(len(rows))
        self._on_committed(rows)
        return True

    def _mark_served(self, job: Job) -> None:
        organization_id = ALL_ORGANIZATIONS if job.organization_id is None else job.organization_id
        self._served.pop(organization_id, None)
        self._served[organization_id] = None
        if len(self._served) > _MAX_SERVED:
            del self._served[next(iter(self._served))]

    async def _postpone_failed(self, connection: Connection, job: Job, error: Exception) -> None:
        """Postpone a job, whose row is still locked unless the connection failed."""
        pause = _BACKOFF.delay(job.failures + 1)
        name = type(error).__name__
        remove_values(error)
        await postpone_job(connection, job, pause=timedelta(seconds=pause), error=name)
        self._metrics.failures.labels(job.kind, name).inc()
        values = {
            "job": job.id,
            "kind": job.kind,
            "failures": job.failures + 1,
            "retry_in_seconds": round(pause, 2),
        }
        _log.error("job_failed", **values, exc_info=error)

    async def delete_expired(self) -> None:
        """Delete expired idempotency keys and sessions.

        Raises:
            UnavailableError: The database cannot be reached.
        """
        for delete in (delete_expired, delete_expired_sessions):
            deleted = _CLEANUP_BATCH_SIZE
            while deleted == _CLEANUP_BATCH_SIZE:
                async with self._database.connection() as connection:
                    deleted = await delete(connection, limit=_CLEANUP_BATCH_SIZE)

    async def _execute_batch(self, connection: Connection, job: Job) -> list[OutboxRow]:
        if await is_outbox_full(connection):
            await postpone_job(connection, job, pause=_FULL_OUTBOX_PAUSE)
            return []
        limit = BATCH_SIZE if job.rate is None else min(BATCH_SIZE, job.rate)
        keys = KeyRange(job.organization_id, job.project_id, job.made_since, job.after_id)
        locked, last = await lock_keys(connection, keys, limit=limit)
        if last is None:
            return await self._finish_keys(connection, job, limit=limit)
        rows = await self._change(connection, job, locked)
        await advance_job(connection, replace(job, after_id=last), done=len(rows), pause=_pause(job, rows))
        return rows

    async def _change(self, connection: Connection, job: Job, locked: Sequence[LockedKey]) -> list[OutboxRow]:
        if job.kind is JobKind.REPLAY:
            return await self._bulk_changes.republish(connection, locked, job.origin)
        assert job.organization_id is not None, "a change is limited to an organization"
        if job.kind is JobKind.PROJECT_DELETE:
            return await self._bulk_changes.delete(connection, job.organization_id, locked, job.origin)
        raised = [(each, each.key.version + 1) for each in locked]
        return await self._bulk_changes.raise_versions(connection, job.organization_id, raised, job.origin)

    async def _finish_keys(self, connection: Connection, job: Job, *, limit: int) -> list[OutboxRow]:
        """Finish a job that has processed all keys: delete the project, or republish deletions."""
        if job.kind is JobKind.REPLAY:
            return await self._republish_deletions(connection, job, limit=limit)
        if job.kind is JobKind.PROJECT_DELETE and not await _delete_hidden(connection, job):
            await advance_job(connection, replace(job, after_id=0), pause=_LATE_KEYS_PAUSE)
        else:
            await advance_job(connection, job, finished=True, pause=timedelta())
        return []

    async def _republish_deletions(self, connection: Connection, job: Job, *, limit: int) -> list[OutboxRow]:
        deleted, last = await lock_deleted_keys(
            connection,
            organization_id=job.organization_id,
            project_id=job.project_id,
            after=job.after_deleted or "",
            limit=limit,
        )
        rows = await self._bulk_changes.republish_deletions(connection, deleted, job.origin)
        job = replace(job, after_deleted=last or job.after_deleted)
        await advance_job(connection, job, done=len(rows), finished=last is None, pause=_pause(job, rows))
        return rows


def _pause(job: Job, rows: Sequence[OutboxRow]) -> timedelta:
    """Return the pause after a batch that limits the job to its rate."""
    return timedelta() if job.rate is None else timedelta(seconds=len(rows) / job.rate)


async def _delete_hidden(connection: Connection, job: Job) -> bool:
    """Delete a hidden project; return False if a create that started earlier has added a key."""
    assert job.organization_id is not None, "a project belongs to an organization"
    assert job.project_id is not None, "the job has a project"
    try:
        async with connection.transaction():
            await delete_project(connection, organization_id=job.organization_id, project_id=job.project_id)
    except ProjectNotEmptyError:
        return False
    return True
