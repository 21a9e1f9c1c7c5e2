"""Repairs differences: inserts events into the outbox while the rows of their keys are locked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from service.domain.differences import Difference, Kind
from service.domain.events import OutboxRow
from service.domain.model import Origin
from service.postgres.database import Connection
from service.postgres.deleted_keys import (
    DeletedVersion,
    insert_deleted_keys,
    lock_deleted_by_public_keys,
    lock_public_keys,
    update_deleted_versions,
)
from service.postgres.key_locks import lock_keys_by_public_keys
from service.postgres.outbox import notify_publishers
from service.usecases.bulk_changes import BATCH_SIZE, BulkChanges, ShowProgress, wait_for_outbox
from service.usecases.reconcile.diff_store import DiffStore
from service.usecases.writes import WriteContext

_UNDECODABLE_VERSION: Final = 1
"""The version that is assumed for a key whose records cannot be decoded."""


class Repair:
    """Republishes keys whose state in the topic differs from that in Postgres.

    The version of an event is that in Postgres if it is higher than all versions in the topic; otherwise it is the
    highest version in the topic + 1, because consumers ignore versions that are not newer than theirs.
    """

    def __init__(self, context: WriteContext) -> None:
        self._database = context.database
        self._bulk_changes = BulkChanges(context.events)

    async def run(self, diff_store: DiffStore, origin: Origin, progress: ShowProgress) -> int:
        """Republish the keys in ``diff_store``; return their number.

        Keys that are parked or have changed since the comparison are left out. Live events have priority: the repair
        waits while the outbox is long.

        Raises:
            UnavailableError: The database is unavailable; finished batches stay committed.
        """
        total, done, republished = sum(diff_store.count_differences().values()), 0, 0
        for differences in batched(diff_store.differences()):
            by_key = {
                difference.public_key: difference for difference in differences if difference.kind is not Kind.PARKED
            }
            republished += await self._repair_batch(by_key, origin)
            done += len(differences)
            progress(done, total)
        return republished

    async def _repair_batch(self, differences: Mapping[str, Difference], origin: Origin) -> int:
        async with self._database.connection() as connection:
            await wait_for_outbox(connection)
            async with connection.transaction():
                rows = await self._republish(connection, differences, origin)
            await notify_publishers(connection)
        return len(rows)

    async def _republish(
        self, connection: Connection, differences: Mapping[str, Difference], origin: Origin
    ) -> list[OutboxRow]:
        await lock_public_keys(
            connection, [key for key, found in differences.items() if not found.version_in_postgres]
        )
        keys = await lock_keys_by_public_keys(connection, list(differences))
        deleted = await lock_deleted_by_public_keys(connection, list(differences))
        pairs = [(locked, differences[locked.key.public_key]) for locked in keys]
        pairs = [(locked, found) for locked, found in pairs if locked.key.version == found.version_in_postgres]
        same_version = [locked for locked, found in pairs if found.newest_version < found.version_in_postgres]
        raised = [
            (locked, found.newest_version + 1)
            for locked, found in pairs
            if found.newest_version >= found.version_in_postgres
        ]
        rows = await self._bulk_changes.republish(connection, same_version, origin)
        rows += await self._bulk_changes.raise_versions(connection, None, raised, origin)
        in_postgres = {locked.key.public_key for locked in keys} | {key.public_key for key in deleted}
        phantoms = [
            found
            for key, found in sorted(differences.items())
            if key not in in_postgres and not found.version_in_postgres
        ]
        deletions = await _raise_deletions(connection, deleted, differences)
        deletions += await _insert_deletions(connection, phantoms)
        return rows + await self._bulk_changes.republish_deletions(connection, deletions, origin)


def batched(differences: Iterable[Difference]) -> Iterator[list[Difference]]:
    """Split ``differences`` into lists of at most `BATCH_SIZE`."""
    iterator = iter(differences)
    while batch := list(islice(iterator, BATCH_SIZE)):
        yield batch


async def _raise_deletions(
    connection: Connection, deleted: Sequence[DeletedVersion], differences: Mapping[str, Difference]
) -> list[DeletedVersion]:
    """Raise the versions of deleted keys above all versions in the topic; keys that have changed are left out."""
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
    """Insert keys that Postgres does not have as deleted keys, with versions above all versions in the topic."""
    deletions = [
        DeletedVersion(found.public_key, max(found.newest_version, _UNDECODABLE_VERSION) + 1) for found in phantoms
    ]
    if deletions:
        tenants = [(found.organization_id, found.project_id) for found in phantoms]
        await insert_deleted_keys(connection, deletions, tenants)
    return deletions
