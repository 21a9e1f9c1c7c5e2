"""Who publishes which shard: shared evenly, taken over in time, never two owners of one epoch."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import asyncpg
import pytest

from service.app import open_database
from service.domain.errors import UnavailableError
from service.domain.partitioning import SHARDS
from service.postgres.database import Database
from service.publisher.leases import Leases, fair_share
from service.publisher.shard_queue import OwnedShard
from service.settings import Settings
from tests.events import until

_LEASE = 0.6
_LONG = 60.0


class Holder:
    """One publisher's leases, without the publishing."""

    def __init__(self, database: Database, name: str, *, lease: float = _LONG) -> None:
        self.shards: dict[int, OwnedShard] = {}
        self.gained = 0
        self.retry_until_known: list[list[int]] = []
        self.leases = Leases(
            database, self.shards, name=name, lease=lease, gained=self._count, settle=self._settle
        )

    @property
    def epochs(self) -> dict[int, int]:
        """The epoch of each shard that is held."""
        return {number: shard.epoch for number, shard in self.shards.items()}

    def _count(self) -> None:
        self.gained += 1

    async def _settle(self, shards: Sequence[OwnedShard], seconds: float) -> None:
        assert all(shard.leaving for shard in shards)
        assert seconds > 0
        self.retry_until_known.append([shard.number for shard in shards])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold a share, for the time of the block; the end is that of a killed process."""
        task = asyncio.create_task(self.leases.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The pool that all holders of a test share."""
    opened = open_database(settings)
    await opened.start()
    yield opened
    await opened.close()


@pytest.mark.parametrize("publishers", range(1, 16))
def test_shares_are_whole_and_even(publishers: int) -> None:
    """Together they are all shards, and none has two more than another."""
    shares = [fair_share(rank, publishers) for rank in range(publishers)]
    assert sum(shares) == SHARDS
    assert max(shares) - min(shares) <= 1


async def test_a_lone_publisher_takes_every_shard(database: Database) -> None:
    """Each in its first epoch, and the sender is told once."""
    one = Holder(database, "one")
    await one.leases.tick()
    assert one.epochs == dict.fromkeys(range(SHARDS), 1)
    await one.leases.tick()
    assert one.epochs == dict.fromkeys(range(SHARDS), 1)
    assert one.gained == 1


async def test_a_newcomer_gets_its_half(database: Database) -> None:
    """The first gives back what is too much, settled before, and keeps the rest without a new epoch."""
    one, two = Holder(database, "one"), Holder(database, "two")
    await one.leases.tick()
    await two.leases.tick()
    assert two.shards == {}, "nothing is taken from a living owner"
    await one.leases.tick()
    await two.leases.tick()
    assert len(one.shards) == len(two.shards) == SHARDS // 2
    assert one.shards.keys().isdisjoint(two.shards)
    assert one.retry_until_known == [sorted(two.shards)]
    assert (set(one.epochs.values()), set(two.epochs.values())) == ({1}, {2})


async def test_five_publishers_share_within_a_few_renewals(database: Database) -> None:
    """They start at once and settle by themselves; at no time has a shard two owners with one epoch."""
    holders = [Holder(database, f"holder-{number}", lease=_LEASE) for number in range(5)]
    async with AsyncExitStack() as stack:
        for holder in holders:
            await stack.enter_async_context(holder.running())

        async def shared() -> bool:
            held = [(number, epoch) for holder in holders for number, epoch in holder.epochs.items()]
            assert len(set(held)) == len(held), "two owners in one epoch"
            return sorted(len(holder.shards) for holder in holders) == [2, 2, 2, 3, 3]

        await until(shared, patience=10 * _LEASE)


async def test_a_lease_that_ran_out_is_taken_in_a_new_epoch(database: Database) -> None:
    """Not before; and the former owner drops its shards as soon as it looks."""
    dead, heir = Holder(database, "dead", lease=_LEASE), Holder(database, "heir")
    await dead.leases.tick()
    await heir.leases.tick()
    assert heir.shards == {}

    async def taken() -> bool:
        await heir.leases.tick()
        return len(heir.shards) == SHARDS

    await until(taken, patience=_LEASE + 2)
    assert set(heir.epochs.values()) == {2}
    await dead.leases.tick()
    assert dead.shards == {}


async def test_a_lease_that_ran_out_unnoticed_is_renewed(
    database: Database, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Nobody took the shards, so nothing changes hands."""
    one = Holder(database, "one")
    await one.leases.tick()
    await postgres.execute("UPDATE outbox_shard SET lease_until = clock_timestamp() - interval '1 hour'")
    assert await one.leases.confirm(one.shards[0]) is None
    await one.leases.tick()
    assert one.epochs == dict.fromkeys(range(SHARDS), 1)
    assert await one.leases.confirm(one.shards[0]) is not None


async def test_two_who_claim_at_once_never_get_the_same_shard(
    database: Database, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Over rounds of many that ask in the same moment."""
    for _ in range(5):
        await postgres.execute("UPDATE outbox_shard SET owner = NULL, lease_until = NULL")
        await postgres.execute("DELETE FROM outbox_publisher")
        holders = [Holder(database, f"holder-{number}") for number in range(4)]
        await asyncio.gather(*(holder.leases.tick() for holder in holders))
        held = [number for holder in holders for number in holder.shards]
        assert sorted(held) == sorted(set(held))


async def test_who_leaves_is_followed_at_once(database: Database) -> None:
    """The leases have five minutes to go; one look is enough, and whoever left takes nothing any more."""
    one, two = Holder(database, "one", lease=300), Holder(database, "two", lease=300)
    await one.leases.tick()
    await one.leases.leave()
    assert one.shards == {}
    assert one.retry_until_known == [list(range(SHARDS))]
    await two.leases.tick()
    assert len(two.shards) == SHARDS
    await one.leases.tick()
    assert one.shards == {}


async def test_a_shard_is_confirmed_only_to_its_owner_and_epoch(database: Database) -> None:
    """What `confirm` says stands between an opened session and the first row sent with it."""
    one, two = Holder(database, "one"), Holder(database, "two")
    await one.leases.tick()
    shard = one.shards[3]
    assert await one.leases.confirm(shard) is not None
    assert await two.leases.confirm(shard) is None
    assert await one.leases.confirm(OwnedShard(3, epoch=shard.epoch + 1)) is None


async def test_whoever_cannot_renew_gives_up_when_the_lease_is_over(settings: Settings) -> None:
    """By then somebody else may publish; the shards come back in their epoch if nobody did."""
    database = open_database(settings)
    await database.start()
    one = Holder(database, "one", lease=_LEASE)
    async with one.running():
        await until(lambda: _holds(one, SHARDS))
        await database.close()
        with pytest.raises(UnavailableError):
            await one.leases.tick()
        assert len(one.shards) == SHARDS, "one failure is no reason"
        await until(lambda: _holds(one, 0), patience=3 * _LEASE)
        await database.start()
        await until(lambda: _holds(one, SHARDS), patience=3 * _LEASE)
        assert set(one.epochs.values()) == {1}
    await database.close()


async def _holds(holder: Holder, number: int) -> bool:
    return len(holder.shards) == number
