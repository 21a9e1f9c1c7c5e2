"""Work that is too much for one request: done a batch at a time, by whichever replica is free, never forgotten."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from service.domain.errors import UnavailableError
from service.domain.events import OutboxRow
from service.postgres.changed import Batch, LockedKey, lock_keys
from service.postgres.database import Connection, Database
from service.postgres.deleted import lock_gone
from service.postgres.idempotency import forget_old
from service.postgres.jobs import Job, JobKind, advance_job, lock_next_job
from service.postgres.outbox import count_outbox
from service.postgres.projects import delete_project
from service.usecases.batches import MOST, KeyBatches

_log = structlog.get_logger(__name__)

_POLL: Final = 2.0
"""Seconds between two looks for work that another replica, or a command, has written down."""

_CROWDED: Final = 2_000
"""Rows in the outbox from which on a replay waits: live events go first."""

_CROWDED_PAUSE: Final = timedelta(seconds=0.2)
_STRAGGLER_PAUSE: Final = timedelta(seconds=1)

_HOUSEKEEPING: Final = 60.0
"""Seconds between two rounds of forgetting what is old."""

_FORGOTTEN_AT_A_TIME: Final = 1_000


class Jobs:
    """Does the work in the table batch_job; ``committed`` is told of every event that has committed."""

    def __init__(
        self,
        database: Database,
        batches: KeyBatches,
        *,
        committed: Callable[[Sequence[OutboxRow]], None],
    ) -> None:
        self._database = database
        self._batches = batches
        self._committed = committed
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be work."""
        self._woken.set()

    async def run(self) -> None:
        """Do what is to be done until cancelled."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time()
        while True:
            self._woken.clear()
            try:
                while await self.step():
                    pass
                if loop.time() >= tidy_at:
                    await self.tidy()
                    tidy_at = loop.time() + _HOUSEKEEPING
            except UnavailableError as error:
                _log.warning("jobs_wait", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL):
                    await self._woken.wait()

    async def step(self) -> bool:
        """Do one batch, in one transaction; returns whether there was one that was due.

        Raises:
            UnavailableError: the database cannot be reached; the batch will come again.
        """
        async with self._database.transaction() as connection:
            job = await lock_next_job(connection)
            if job is None:
                return False
            rows = await self._batch(connection, job)
        self._committed(rows)
        return True

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
        if job.kind is JobKind.REPLAY and await count_outbox(connection, most=_CROWDED) >= _CROWDED:
            await advance_job(connection, job, pause=_CROWDED_PAUSE)
            return []
        limit = MOST if job.rate is None else min(MOST, job.rate)
        pause = timedelta() if job.rate is None else timedelta(seconds=limit / job.rate)
        scope = Batch(job.organization_id, job.project_id, job.made_since, job.after_id)
        locked = await lock_keys(connection, scope, limit=limit)
        if not locked:
            return await self._end(connection, job, limit=limit, pause=pause)
        rows = await self._change(connection, job, locked)
        await advance_job(connection, replace(job, after_id=locked[-1].id), done=len(rows), pause=pause)
        return rows

    async def _change(self, connection: Connection, job: Job, locked: Sequence[LockedKey]) -> list[OutboxRow]:
        if job.kind is JobKind.REPLAY:
            return await self._batches.repeat(connection, locked, job.origin)
        assert job.organization_id is not None, "changes are an organization's own"
        if job.kind is JobKind.PROJECT_DELETE:
            return await self._batches.delete(connection, job.organization_id, locked, job.origin)
        return await self._batches.raise_versions(connection, job.organization_id, locked, job.origin)

    async def _end(
        self, connection: Connection, job: Job, *, limit: int, pause: timedelta
    ) -> list[OutboxRow]:
        """All keys are done: what is left to do."""
        rows: list[OutboxRow] = []
        if job.kind is JobKind.REPLAY:
            gone = await lock_gone(
                connection,
                organization_id=job.organization_id,
                project_id=job.project_id,
                after=job.after_deleted or "",
                limit=limit,
            )
            rows = await self._batches.repeat_deletions(connection, gone, job.origin)
            if gone:
                job = replace(job, after_deleted=gone[-1].public_key)
        elif job.kind is JobKind.PROJECT_DELETE and not await _delete_hidden(connection, job):
            await advance_job(connection, replace(job, after_id=0), pause=_STRAGGLER_PAUSE)
            return []
        await advance_job(connection, job, done=len(rows), finished=not rows, pause=pause)
        return rows


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
