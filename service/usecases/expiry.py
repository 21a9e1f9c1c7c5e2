"""Disables expired keys: each in a new version, committed together with its event and its audit entry."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from service.concurrency.database_clock import DATABASE_CLOCK
from service.domain.errors import UnavailableError
from service.domain.events import EventType
from service.domain.model import Origin, Project, ProjectKey, next_version
from service.metrics import JobMetrics
from service.postgres.database import Connection, PostgresError
from service.postgres.failures import remove_values
from service.postgres.key_changes import change_keys
from service.postgres.key_lifecycle import count_expiring, select_expired
from service.postgres.key_writes import PreparedWrite
from service.postgres.outbox_admin import COUNTED
from service.usecases.writes import WriteContext

_log = structlog.get_logger(__name__)

_POLL_INTERVAL: Final = 0.5
"""Seconds between two polls: half of the time within which an expired key is disabled."""

BATCH_SIZE: Final = 200
"""Keys in a transaction, which is one statement of about 50 ms."""

_SOON: Final = timedelta(days=7)
"""The time before the expiry of a key in which the metric counts it."""

_JOB: Final = "projectkey.expire"
"""The label of this work in the metrics of jobs."""

ORIGIN: Final = Origin(token_id=None, request_id="expiry")
"""The origin of these changes in events and audit entries."""


class Expiry:
    """Disables expired keys, in every process and without locks between polls, so that none can delay another.

    The statement that disables a key requires the version that was read. So it happens once if several processes have
    read the key, and a batch whose COMMIT got no response needs no further check: the next poll reads what is left.
    """

    def __init__(self, context: WriteContext, metrics: JobMetrics) -> None:
        self._context = context
        self._metrics = metrics

    async def run(self) -> None:
        """Disable expired keys until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except UnavailableError as error:
                _log.log(error.log_level, "expiry_poll_failed", error=str(error))
            await asyncio.sleep(_POLL_INTERVAL)

    async def count_expiring(self, connection: Connection) -> None:
        """Set the metric of the keys that expire soon."""
        self._metrics.expiring.set(await count_expiring(connection, within=_SOON, most=COUNTED))

    async def step(self) -> bool:
        """Disable a batch of expired keys in one transaction; return whether there may be more.

        Raises:
            UnavailableError: The database cannot be reached.
        """
        async with self._context.database.connection() as connection:
            now, expired = await select_expired(connection, limit=BATCH_SIZE)
        DATABASE_CLOCK.set(now)
        changes = [self._disabled(key, project, now) for key, project in expired]
        try:
            changed = await self._commit(changes)
        except PostgresError:  # of one key; it must not prevent the expiry of the others
            changed = sum([await self._commit_one(change) for change in changes])
        return len(expired) == BATCH_SIZE and changed > 0

    def _disabled(self, key: ProjectKey, project: Project, now: datetime) -> PreparedWrite:
        after = replace(next_version(key), is_active=False)
        event = self._context.events.create(EventType.UPDATED, after, project, ORIGIN, occurred_at=now)
        data = {"isActive": {"from": True, "to": False}}
        return PreparedWrite(project, after, event, ORIGIN, "projectkey.expire", data)

    async def _commit(self, changes: Sequence[PreparedWrite]) -> int:
        """Commit changes in one statement; return how many had an effect: the others are locked or changed."""
        if not changes:
            return 0
        async with self._context.database.connection() as connection:
            rows = await change_keys(connection, changes)
        self._metrics.keys.labels(_JOB).inc(len(rows))
        self._context.on_committed(rows)
        return len(rows)

    async def _commit_one(self, change: PreparedWrite) -> int:
        try:
            return await self._commit([change])
        except PostgresError as error:
            remove_values(error)
            self._metrics.failures.labels(_JOB, type(error).__name__).inc()
            _log.error("expiry_failed", key=change.key.public_key, exc_info=error)
            return 0
