"""Compares the topic with Postgres."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from service.domain.differences import Difference, Kind, TopicRecord
from service.domain.model import Origin
from service.postgres.full_scan import (
    KeyStatus,
    all_deleted_keys,
    all_keys,
    all_outbox_rows,
    select_key_statuses,
    use_snapshot,
)
from service.postgres.keys import count_keys
from service.usecases.bulk_changes import ProgressOf, ShowProgress
from service.usecases.reconcile.diff_store import DiffStore
from service.usecases.reconcile.repair import Repair, batched
from service.usecases.writes import WriteContext

ReadTopic = Callable[[ShowProgress], AsyncGenerator[list[TopicRecord], None]]
"""Reads the records of all keys up to the current end of the topic; those of a key are in the order of offsets."""


class Reconcile:
    """Compares the topic with Postgres, and repairs the differences.

    Postgres is read first. The event of each change that is committed by then is in the topic or in the outbox, and
    the end of the topic is determined later: up to there, the topic must have the state of each key without an event
    in the outbox. Keys that have changed since Postgres was read are left out.
    """

    def __init__(self, context: WriteContext, topic: ReadTopic) -> None:
        self._database = context.database
        self._events = context.events
        self._repair = Repair(context)
        self._topic = topic

    async def compare(self, diff_store: DiffStore, progress_of: ProgressOf) -> None:
        """Add the differences to ``diff_store``, which must be empty.

        Raises:
            UnavailableError: The database is unavailable.
            KafkaUnavailableError: The topic cannot be read.
        """
        with progress_of("Postgres") as progress:
            await self.read_postgres(diff_store, progress)
        with progress_of("Topic") as progress:
            await self.read_topic(diff_store, progress)
        await self.confirm(diff_store)

    async def repair(self, diff_store: DiffStore, origin: Origin, progress_of: ProgressOf) -> int:
        """Repair the differences in ``diff_store`` as `Repair.run` does; return the number of republished keys."""
        with progress_of("Repair") as progress:
            return await self._repair.run(diff_store, origin, progress)

    async def read_postgres(self, diff_store: DiffStore, progress: ShowProgress) -> None:
        """Add the keys, the deleted keys and the outbox rows of one snapshot of Postgres."""
        done, state_of = 0, self._events.state_of
        async with self._database.transaction() as connection:
            await use_snapshot(connection)
            total = await count_keys(connection, organization_id=None, project_id=None)
            async for keys in all_keys(connection):
                diff_store.add_postgres_keys(
                    (key.public_key, key.version, state_of(key, project)) for key, project in keys
                )
                done += len(keys)
                progress(done, total)
            async for deleted_keys in all_deleted_keys(connection):
                diff_store.add_postgres_keys((key.public_key, key.version, None) for key in deleted_keys)
                done += len(deleted_keys)
                progress(done, total)
            async for rows in all_outbox_rows(connection):
                diff_store.add_outbox_rows(rows)

    async def read_topic(self, diff_store: DiffStore, progress: ShowProgress) -> None:
        """Add the records of the topic up to its current end."""
        async with aclosing(self._topic(progress)) as pages:
            async for records in pages:
                diff_store.add_topic_records(records)

    async def confirm(self, diff_store: DiffStore) -> None:
        """Find the differences, and add those of keys that have not changed since Postgres was read."""
        for differences in batched(diff_store.find_differences()):
            async with self._database.connection() as connection:
                statuses = await select_key_statuses(
                    connection, [difference.public_key for difference in differences]
                )
            diff_store.add_differences(
                difference for difference in differences if _is_confirmed(difference, statuses[difference.public_key])
            )


def _is_confirmed(difference: Difference, status: KeyStatus) -> bool:
    if difference.kind is Kind.PARKED:
        return status.is_pending
    existed = difference.version_in_postgres > 0 and difference.kind is not Kind.WRONGLY_PRESENT
    return status == KeyStatus(difference.version_in_postgres, existed, is_pending=False)
