"""Shard leases: equal shares, takeover after expiry, and never two owners in one epoch."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import asyncpg
import pytest

from service.app import open_database
from service.domain.errors import UnavailableError
from service.domain.events import SHARDS
from service.postgres.database import Database
from service.postgres.shards import PostgresShardOwnership
from service.publisher.leases import Leases, fair_share
from service.publisher.owned_shards import OwnedShards
from service.publisher.shard_queue import ShardQueue
from service.publisher.signals import Signals
from service.settings import Settings
from testkit.polling import poll_until

_LEASE = 0.6
_LONG = 60.0


class Holder:
    """The leases of one publisher that publishes nothing."""

    def __init__(self, database: Database, name: str, *, lease: float = _LONG) -> None:
        self.shards = OwnedShards()
        self.signals = Signals()
        self.drained: list[list[int]] = []
        self.ownership = PostgresShardOwnership(database, name=name, lease=lease)
        self.leases = Leases(self.ownership, self.shards, self.signals, drain=self._drain)

    @property
    def epochs(self) -> dict[int, int]:
        """The epoch of each owned shard."""
        return {shard.number: shard.epoch for shard in self.shards.values()}

    async def _drain(self, shards: Sequence[ShardQueue], timeout: float) -> None:
        assert all(shard.draining for shard in shards)
        assert timeout > 0
        self.drained.append([shard.number for shard in shards])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold a share until the end of the block, which is that of a killed process."""
        task = asyncio.create_task(self.leases.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The connection pool of all holders of a test."""
    opened = open_database(settings)
    await opened.start()
    yield opened
    await opened.close()


@pytest.mark.parametrize("publishers", range(1, 16))
def test_shares_are_whole_and_even(publishers: int) -> None:
    """Their sum is the number of shards, and no two differ by more than one."""
    shares = [fair_share(rank, publishers) for rank in range(publishers)]
    assert sum(shares) == SHARDS
    assert max(shares) - min(shares) <= 1


async def test_a_single_publisher_claims_every_shard(database: Database) -> None:
    """Each in its first epoch, and the sender is woken once."""
    holder = Holder(database, "one")
    await holder.leases.rebalance()
    assert holder.epochs == dict.fromkeys(range(SHARDS), 1)
    assert holder.signals.sender.is_set()
    holder.signals.sender.clear()
    await holder.leases.rebalance()
    assert holder.epochs == dict.fromkeys(range(SHARDS), 1)
    assert not holder.signals.sender.is_set()


async def test_a_new_publisher_gets_half_of_the_shards(database: Database) -> None:
    """The first one drains and releases its surplus, and keeps the other shards in their epoch."""
    first, second = Holder(database, "one"), Holder(database, "two")
    await first.leases.rebalance()
    await second.leases.rebalance()
    assert second.epochs == {}, "no shard of a live owner is claimed"
    await first.leases.rebalance()
    await second.leases.rebalance()
    assert len(first.shards) == len(second.shards) == SHARDS // 2
    assert first.epochs.keys().isdisjoint(second.epochs)
    assert first.drained == [second.shards.numbers]
    assert (set(first.epochs.values()), set(second.epochs.values())) == ({1}, {2})


async def test_five_publishers_share_within_a_few_renewals(database: Database) -> None:
    """They start at once; at no time has a shard two owners in one epoch."""
    holders = [Holder(database, f"holder-{number}", lease=_LEASE) for number in range(5)]
    async with AsyncExitStack() as stack:
        for holder in holders:
            await stack.enter_async_context(holder.running())

        async def shared() -> bool:
            held = [(number, epoch) for holder in holders for number, epoch in holder.epochs.items()]
            assert len(set(held)) == len(held), "two owners in one epoch"
            return sorted(len(holder.shards) for holder in holders) == [2, 2, 2, 3, 3]

        await poll_until(shared, timeout=10 * _LEASE)


async def test_an_expired_lease_is_claimed_in_a_new_epoch(database: Database) -> None:
    """Not before it expires; and the former owner drops its shards at its next renewal."""
    former, successor = Holder(database, "former", lease=_LEASE), Holder(database, "successor")
    await former.leases.rebalance()
    await successor.leases.rebalance()
    assert successor.epochs == {}

    async def claimed() -> bool:
        await successor.leases.rebalance()
        return len(successor.shards) == SHARDS

    await poll_until(claimed, timeout=_LEASE + 2)
    assert set(successor.epochs.values()) == {2}
    await former.leases.rebalance()
    assert former.epochs == {}


async def test_an_expired_lease_that_no_other_publisher_claimed_is_renewed(
    database: Database, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The shards keep their owner and epoch."""
    holder = Holder(database, "one")
    await holder.leases.rebalance()
    await postgres.execute("UPDATE outbox_shard SET lease_until = clock_timestamp() - interval '1 hour'")
    assert await holder.ownership.newest_seq_if_owner(0, epoch=1) is None
    await holder.leases.rebalance()
    assert holder.epochs == dict.fromkeys(range(SHARDS), 1)
    assert await holder.ownership.newest_seq_if_owner(0, epoch=1) is not None


async def test_concurrent_claims_never_return_the_same_shard(
    database: Database, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Over several rounds of four publishers that claim at once."""
    for _ in range(5):
        await postgres.execute("UPDATE outbox_shard SET owner = NULL, lease_until = NULL")
        await postgres.execute("DELETE FROM outbox_publisher")
        holders = [Holder(database, f"holder-{number}") for number in range(4)]
        await asyncio.gather(*(holder.leases.rebalance() for holder in holders))
        held = [number for holder in holders for number in holder.epochs]
        assert sorted(held) == sorted(set(held))


async def test_the_shards_of_a_publisher_that_leaves_are_claimed_at_once(database: Database) -> None:
    """Though the leases have five minutes left; the publisher that left claims no shard any more."""
    first, second = Holder(database, "one", lease=300), Holder(database, "two", lease=300)
    await first.leases.rebalance()
    await first.leases.leave()
    assert first.epochs == {}
    assert first.drained == [list(range(SHARDS))]
    await second.leases.rebalance()
    assert len(second.shards) == SHARDS
    await first.leases.rebalance()
    assert first.epochs == {}


async def test_only_the_owner_in_its_epoch_is_confirmed(database: Database) -> None:
    """This check is made after a session was opened and before its first row is sent."""
    first, second = Holder(database, "one"), Holder(database, "two")
    await first.leases.rebalance()
    epoch = first.epochs[3]
    assert await first.ownership.newest_seq_if_owner(3, epoch=epoch) is not None
    assert await second.ownership.newest_seq_if_owner(3, epoch=epoch) is None
    assert await first.ownership.newest_seq_if_owner(3, epoch=epoch + 1) is None


async def test_a_publisher_that_cannot_renew_drops_its_shards_when_the_lease_expires(
    settings: Settings,
) -> None:
    """Another publisher may own them by then; if none does, they return in their epoch."""
    database = open_database(settings)
    await database.start()
    holder = Holder(database, "one", lease=_LEASE)
    async with holder.running():
        await poll_until(lambda: _holds(holder, SHARDS))
        await database.close()
        with pytest.raises(UnavailableError):
            await holder.leases.rebalance()
        assert len(holder.shards) == SHARDS, "one failure is no reason"
        await poll_until(lambda: _holds(holder, 0), timeout=3 * _LEASE)
        await database.start()
        await poll_until(lambda: _holds(holder, SHARDS), timeout=3 * _LEASE)
        assert set(holder.epochs.values()) == {1}
    await database.close()


async def _holds(holder: Holder, number: int) -> bool:
    return len(holder.shards) == number
