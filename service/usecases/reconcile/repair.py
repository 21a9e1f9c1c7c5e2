"""Repairs the topic where it differs from Postgres: through the outbox, with each key's row locked."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from service.domain.differences import Difference, Kind
from service.domain.events import OutboxRow
from service.domain.model import Origin
from service.postgres.database import Connection, Database
from service.postgres.deleted_keys import (
    DeletedVersion,
    insert_deleted_keys,
    lock_deleted_by_public_keys,
    update_deleted_versions,
)
from service.postgres.key_locks import lock_keys_by_public_keys
from service.postgres.outbox import notify_publishers
from service.usecases.bulk_changes import BATCH_SIZE, BulkChanges, is_outbox_full
from service.usecases.reconcile.diff_store import DiffStore

ShowProgress = Callable[[int, int], None]
"""Shows how many of how many are done."""

_OUTBOX_POLL: Final = 0.1
"""Seconds between two checks whether the outbox is short enough."""

_UNDECODABLE_VERSION: Final = 1
"""The assumed version of a key of which the topic has only records that cannot be decoded."""


class Repair:
    """Republishes keys whose state in the topic differs from that in Postgres.

    In the version that Postgres has, if it is greater than all versions in the topic. Otherwise in the version after
    the greatest one in the topic: consumers ignore versions that are not newer than what they have.
    """

    def __init__(self, database: Database, batches: BulkChanges) -> None:
        self._database = database
        self._batches = batches

    async def run(self, diff_store: DiffStore, origin: Origin, progress: ShowProgress) -> int:
        """Republish the keys in ``diff_store``; return their number.

        Keys that are parked or have changed since are left out. Live events have priority: the repair waits while
        the outbox is long.

        Raises:
            UnavailableError: The database is unavailable; finished batches stay committed.
        """
        total, done, republished = sum(diff_store.count_differences().values()), 0, 0
        for differences in batched(diff_store.differences()):
            by_key = {one.public_key: one for one in differences if one.kind is not Kind.PARKED}
            republished += await self._repair_batch(by_key, origin)
            done += len(differences)
            progress(done, total)
        return republished

    async def _repair_batch(self, differences: Mapping[str, Difference], origin: Origin) -> int:
        while True:
            async with self._database.transaction() as connection:
                if not await is_outbox_full(connection):
                    rows = await self._republish(connection, differences, origin)
                    break
            await asyncio.sleep(_OUTBOX_POLL)
        async with self._database.connection() as connection:
            await notify_publishers(connection)
        return len(rows)

    async def _republish(
        self, connection: Connection, differences: Mapping[str, Difference], origin: Origin
    ) -> list[OutboxRow]:
        keys = await lock_keys_by_public_keys(connection, list(differences))
        deleted = await lock_deleted_by_public_keys(connection, list(differences))
        pairs = [(locked, differences[locked.key.public_key]) for locked in keys]
        pairs = [
            (locked, found) for locked, found in pairs if locked.key.version == found.version_in_postgres
        ]
        same_version = [locked for locked, found in pairs if found.newest_version < found.version_in_postgres]
        next_version = [
            (locked, found.newest_version)
            for locked, found in pairs
            if found.newest_version >= found.version_in_postgres
        ]
        rows = await self._batches.repeat(connection, same_version, origin)
        rows += await self._batches.raise_beyond(connection, next_version, origin)
        in_postgres = {one.key.public_key for one in keys} | {one.public_key for one in deleted}
        phantoms = [
            found
            for key, found in sorted(differences.items())
            if key not in in_postgres and not found.version_in_postgres
        ]
        deletions = await _raise_deletions(connection, deleted, differences)
        deletions += await _insert_deletions(connection, phantoms)
        return rows + await self._batches.repeat_deletions(connection, deletions, origin)


def batched(differences: Iterable[Difference]) -> Iterator[list[Difference]]:
    """Split ``differences`` into lists of as many keys as one transaction may lock."""
    iterator = iter(differences)
    while batch := list(islice(iterator, BATCH_SIZE)):
        yield batch


async def _raise_deletions(
    connection: Connection, deleted: Sequence[DeletedVersion], differences: Mapping[str, Difference]
) -> list[DeletedVersion]:
    """Give deleted keys versions that are newer than all in the topic."""
    pairs = [(key, differences[key.public_key]) for key in deleted]
    raised = [
        DeletedVersion(key.public_key, max(found.version_in_postgres, found.newest_version + 1))
        for key, found in pairs
        if key.version == found.version_in_postgres
    ]
    if raised:
        await update_deleted_versions(connection, raised)
    return raised


async def _insert_deletions(connection: Connection, phantoms: Sequence[Difference]) -> list[DeletedVersion]:
    """Record keys that Postgres does not have as deleted, in versions that are newer than all in the topic."""
    deletions = [
        DeletedVersion(found.public_key, max(found.newest_version, _UNDECODABLE_VERSION) + 1)
        for found in phantoms
    ]
    if deletions:
        tenants = [(found.organization_id, found.project_id) for found in phantoms]
        await insert_deleted_keys(connection, deletions, tenants)
    return deletions
