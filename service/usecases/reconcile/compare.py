"""Postgres beside the topic: what the two say of each key."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from service.domain.differences import Difference, Kind
from service.postgres.database import Database
from service.postgres.full_scan import (
    Standing,
    all_gone,
    all_keys,
    all_waiting,
    see_one_moment,
    select_standing,
)
from service.postgres.job_states import count_keys
from service.usecases.bulk_changes import MOST
from service.usecases.event_factory import EventFactory
from service.usecases.reconcile.diff_store import DiffStore


class Reconcile:
    """Compares the topic with Postgres.

    What was committed when `read_postgres` looked is in the topic, or its event was in the outbox. So what the topic
    has up to an end that is taken later tells of it, unless the topic is wrong. Nothing is said of keys that have
    changed since or whose events are on their way.
    """

    def __init__(self, database: Database, events: EventFactory) -> None:
        self._database = database
        self._events = events

    async def read_postgres(self, diff_store: DiffStore, progress: Callable[[int, int], None]) -> None:
        """Write down what there is at one moment: keys, deleted ones, and events on their way.

        ``progress`` is told how many keys are done, and how many there are.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        done, state_of = 0, self._events.state_of
        async with self._database.transaction() as connection:
            await see_one_moment(connection)
            total = await count_keys(connection, organization_id=None, project_id=None)
            async for keys in all_keys(connection):
                diff_store.add_known((key.public_key, key.version, state_of(key, of)) for key, of in keys)
                done += len(keys)
                progress(done, total)
            async for gone in all_gone(connection):
                diff_store.add_known((one.public_key, one.version, None) for one in gone)
                done += len(gone)
                progress(done, total)
            async for events in all_waiting(connection):
                diff_store.add_waiting(events)

    async def confirm(self, diff_store: DiffStore) -> None:
        """Write down the differences, but for those of keys that have changed since Postgres was read.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        for some in batched(diff_store.compare()):
            async with self._database.connection() as connection:
                standing = await select_standing(connection, [one.public_key for one in some])
            diff_store.add_differences(one for one in some if _stands(one, standing[one.public_key]))


def batched(differences: Iterable[Difference]) -> Iterator[list[Difference]]:
    """As many at a time as one transaction may lock keys."""
    iterator = iter(differences)
    while some := list(islice(iterator, MOST)):
        yield some


def _stands(one: Difference, now: Standing) -> bool:
    if one.kind is Kind.PARKED:
        return now.waits
    lives = one.known > 0 and one.kind is not Kind.WRONGLY_PRESENT
    return (now.version, now.lives, now.waits) == (one.known, lives, False)
