"""Mending the topic where it differs from Postgres: through the outbox, each key under its lock."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from service.domain.differences import Difference, Kind
from service.domain.events import OutboxRow
from service.domain.model import Origin
from service.postgres.database import Connection, Database
from service.postgres.deleted_keys import DeletedVersion, lock_gone_named, raise_gone, remember_gone
from service.postgres.key_locks import lock_named
from service.postgres.outbox import notify_publishers
from service.usecases.bulk_changes import BulkChanges, is_crowded
from service.usecases.reconcile.compare import batched
from service.usecases.reconcile.diff_store import DiffStore

_CROWDED_PAUSE: Final = 0.1
"""Seconds between two looks whether live events leave room."""

_UNREAD: Final = 1
"""The version that a key is taken to have had whose records nobody can read."""


class Repair:
    """Tells again of keys of which the topic tells what Postgres does not.

    In the version that Postgres has, if the topic tells of none as new. Otherwise in the one after the newest that
    the topic tells of: consumers that hold that would pass over any other.
    """

    def __init__(self, database: Database, batches: BulkChanges) -> None:
        self._database = database
        self._batches = batches

    async def run(self, diff_store: DiffStore, origin: Origin, progress: Callable[[int, int], None]) -> int:
        """Mend what the ledger holds, but for keys that are parked or have changed since; returns how many.

        It waits while much is on its way to Kafka. ``progress`` is told how many differences are done, and how many
        there are.

        Raises:
            UnavailableError: the database cannot be reached; what is done is done.
        """
        total, done, told = sum(diff_store.counts().values()), 0, 0
        for some in batched(diff_store.differences()):
            told += await self._mend_when_there_is_room(
                {one.public_key: one for one in some if one.kind is not Kind.PARKED}, origin
            )
            done += len(some)
            progress(done, total)
        return told

    async def _mend_when_there_is_room(self, wrong: Mapping[str, Difference], origin: Origin) -> int:
        while True:
            async with self._database.transaction() as connection:
                if not await is_crowded(connection):
                    rows = await self._mend(connection, wrong, origin)
                    break
            await asyncio.sleep(_CROWDED_PAUSE)
        async with self._database.connection() as connection:
            await notify_publishers(connection)
        return len(rows)

    async def _mend(
        self, connection: Connection, wrong: Mapping[str, Difference], origin: Origin
    ) -> list[OutboxRow]:
        locked = await lock_named(connection, list(wrong))
        gone = await lock_gone_named(connection, list(wrong))
        nowhere = wrong.keys() - {one.key.public_key for one in locked} - {one.public_key for one in gone}
        keys = [(one, wrong[one.key.public_key]) for one in locked]
        keys = [(one, of) for one, of in keys if one.key.version == of.known]
        rows = await self._batches.repeat(
            connection, [one for one, of in keys if of.newest < of.known], origin
        )
        beyond = [(one, of.newest) for one, of in keys if of.newest >= of.known]
        rows += await self._batches.raise_beyond(connection, beyond, origin)
        ended = await _raised([(one, wrong[one.public_key]) for one in gone], connection)
        ended += await _remembered(
            [wrong[key] for key in sorted(nowhere) if not wrong[key].known], connection
        )
        return rows + await self._batches.repeat_deletions(connection, ended, origin)


async def _raised(
    gone: Sequence[tuple[DeletedVersion, Difference]], connection: Connection
) -> list[DeletedVersion]:
    """Deleted keys in versions that are newer than all that the topic tells of."""
    ended = [
        DeletedVersion(one.public_key, max(of.known, of.newest + 1))
        for one, of in gone
        if one.version == of.known
    ]
    if ended:
        await raise_gone(connection, ended)
    return ended


async def _remembered(phantoms: Sequence[Difference], connection: Connection) -> list[DeletedVersion]:
    """Keys that nothing is known of, deleted after all that the topic tells of."""
    ended = [DeletedVersion(one.public_key, max(one.newest, _UNREAD) + 1) for one in phantoms]
    if ended:
        tenants = [(one.organization_id, one.project_id) for one in phantoms]
        await remember_gone(connection, ended, tenants)
    return ended
