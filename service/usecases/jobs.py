"""Work that is too much for one request: done a batch at a time, by whichever replica is free, never forgotten."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.metrics import JobMetrics
from service.postgres.batch_jobs import (
    ALL_ORGANIZATIONS,
    Job,
    JobKind,
    advance_job,
    lock_next_job,
    next_due,
    postpone_job,
)
from service.postgres.database import Connection, Database, forget_values
from service.postgres.deleted_keys import lock_gone
from service.postgres.idempotency import forget_old
from service.postgres.key_locks import Batch, LockedKey, lock_keys
from service.postgres.projects import delete_project
from service.usecases.bulk_changes import MOST, BulkChanges, is_crowded

_log = structlog.get_logger(__name__)

_POLL: Final = 2.0
"""Seconds between two looks for work that another replica, or a command, has written down."""

_CROWDED_PAUSE: Final = timedelta(seconds=0.1)
_STRAGGLER_PAUSE: Final = timedelta(seconds=1)

_FIRST_BACKOFF: Final = 1.0
_LONGEST_BACKOFF: Final = 60.0
_DOUBLINGS: Final = 6
"""Seconds before a batch that failed is tried again, at first and at most, and how often they double until then."""

_HOUSEKEEPING: Final = 60.0
"""Seconds between two rounds of forgetting what is old."""

_FORGOTTEN_AT_A_TIME: Final = 1_000

_SERVED: Final = 1_000
"""Organizations whose last turn is remembered; an older one counts as not served."""


class Jobs:
    """Does the work in the table batch_job; ``committed`` is told of every event that has committed.

    Organizations take turns, one batch each: however many jobs one of them has, a job of another waits for at most
    one batch of each process.
    """

    def __init__(
        self,
        database: Database,
        batches: BulkChanges,
        *,
        committed: Callable[[Sequence[OutboxRow]], None],
        metrics: JobMetrics,
    ) -> None:
        self._database = database
        self._batches = batches
        self._committed = committed
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._tidy_at = 0.0
        # Ids of organizations in the order of their last turns.
        self._served: dict[int, None] = {}

    def wake(self) -> None:
        """There may be work."""
        self._woken.set()

    async def run(self) -> None:
        """Do what is to be done until cancelled."""
        while True:
            self._woken.clear()
            try:
                pause = await self._round()
            except UnavailableError as error:
                _log.warning("job_poll_failed", error=str(error))
                pause = _POLL
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _round(self) -> float:
        """Do all that is due; returns the seconds until there may be more."""
        loop, working = asyncio.get_running_loop(), True
        while working:
            working = await self.step()
            if loop.time() >= self._tidy_at:
                await self.tidy()
                self._tidy_at = loop.time() + _HOUSEKEEPING
        async with self._database.connection() as connection:
            seconds = await next_due(connection)
        return _POLL if seconds is None else min(_POLL, max(0.0, seconds))

    async def step(self) -> bool:
        """Do one batch, in one transaction; returns whether there was one that was due.

        A batch that fails is undone and tried again after a pause; other jobs go on meanwhile.

        Raises:
            UnavailableError: the database cannot be reached; the batch will come again.
        """
        async with self._database.transaction() as connection:
            job = await lock_next_job(connection, list(self._served))
            if job is None:
                return False
            self._took_turn(job)
            try:
                async with connection.transaction():
                    rows = await self._batch(connection, job)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the other jobs must go on
                await self._failed(connection, job, error)
                return True
        self._metrics.keys.labels(job.kind).inc(len(rows))
        self._committed(rows)
        return True

    def _took_turn(self, job: Job) -> None:
        organization_id = ALL_ORGANIZATIONS if job.organization_id is None else job.organization_id
        self._served.pop(organization_id, None)
        self._served[organization_id] = None
        if len(self._served) > _SERVED:
            del self._served[next(iter(self._served))]

    async def _failed(self, connection: Connection, job: Job, error: Exception) -> None:
        """Put a job off; its lock is still held, unless the connection itself is what failed."""
        longest = min(_FIRST_BACKOFF * 2 ** min(job.failures, _DOUBLINGS), _LONGEST_BACKOFF)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 -- spreads retries, hides nothing
        name = type(error).__name__
        forget_values(error)
        await postpone_job(connection, job, pause=timedelta(seconds=pause), failed=name)
        self._metrics.failures.labels(job.kind, name).inc()
        about = {"job": job.id, "kind": job.kind, "failures": job.failures + 1, "retry_in": round(pause, 2)}
        _log.error("job_failed", **about, exc_info=error)

    async def tidy(self) -> None:
        """Forget what is old.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        forgotten = _FORGOTTEN_AT_A_TIME
        while forgotten == _FORGOTTEN_AT_A_TIME:
            async with self._database.connection() as connection:
                forgotten = await forget_old(connection, most=_FORGOTTEN_AT_A_TIME)

    async def _batch(self, connection: Connection, job: Job) -> list[OutboxRow]:
        if await is_crowded(connection):
            await postpone_job(connection, job, pause=_CROWDED_PAUSE)
            return []
        limit = MOST if job.rate is None else min(MOST, job.rate)
        scope = Batch(job.organization_id, job.project_id, job.made_since, job.after_id)
        locked, last = await lock_keys(connection, scope, limit=limit)
        if last is None:
            return await self._end(connection, job, limit=limit)
        rows = await self._change(connection, job, locked)
        await advance_job(connection, replace(job, after_id=last), done=len(rows), pause=_pause(job, rows))
        return rows

    async def _change(self, connection: Connection, job: Job, locked: Sequence[LockedKey]) -> list[OutboxRow]:
        if job.kind is JobKind.REPLAY:
            return await self._batches.repeat(connection, locked, job.origin)
        assert job.organization_id is not None, "changes are an organization's own"
        if job.kind is JobKind.PROJECT_DELETE:
            return await self._batches.delete(connection, job.organization_id, locked, job.origin)
        return await self._batches.raise_versions(connection, job.organization_id, locked, job.origin)

    async def _end(self, connection: Connection, job: Job, *, limit: int) -> list[OutboxRow]:
        """All keys are done: what is left to do."""
        if job.kind is JobKind.REPLAY:
            return await self._repeat_deletions(connection, job, limit=limit)
        if job.kind is JobKind.PROJECT_DELETE and not await _delete_hidden(connection, job):
            await advance_job(connection, replace(job, after_id=0), pause=_STRAGGLER_PAUSE)
        else:
            await advance_job(connection, job, finished=True, pause=timedelta())
        return []

    async def _repeat_deletions(self, connection: Connection, job: Job, *, limit: int) -> list[OutboxRow]:
        gone, last = await lock_gone(
            connection,
            organization_id=job.organization_id,
            project_id=job.project_id,
            after=job.after_deleted or "",
            limit=limit,
        )
        rows = await self._batches.repeat_deletions(connection, gone, job.origin)
        job = replace(job, after_deleted=last or job.after_deleted)
        await advance_job(connection, job, done=len(rows), finished=last is None, pause=_pause(job, rows))
        return rows


def _pause(job: Job, rows: Sequence[OutboxRow]) -> timedelta:
    """How long to wait after so many keys, for the job's rate to be kept."""
    return timedelta() if job.rate is None else timedelta(seconds=len(rows) / job.rate)


async def _delete_hidden(connection: Connection, job: Job) -> bool:
    """Delete a project whose keys are gone; False if a key has come whose creation had begun before."""
    assert job.organization_id is not None, "a project belongs to an organization"
    assert job.project_id is not None, "this job is a project's"
    try:
        async with connection.transaction():
            await delete_project(connection, organization_id=job.organization_id, project_id=job.project_id)
    except asyncpg.ForeignKeyViolationError:
        return False
    return True
