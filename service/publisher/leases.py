"""Which shards this process publishes: a fair share of them, held by leases on the database's clock."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.partitioning import SHARDS
from service.postgres.database import Database
from service.postgres.shards import (
    claim_shards,
    newest_if_owner,
    notify_of_free_shards,
    release_shards,
    renew_leases,
    report_alive,
    sign_off,
)
from service.publisher.shard_queue import OwnedShard, hold

_log = structlog.get_logger(__name__)

_RENEWALS: Final = 3
"""Renewals in the time of one lease: two may fail before a shard is lost."""

_LAST_SETTLING: Final = 5.0
"""Seconds for what is on its way when the process ends; after that its rows may be sent twice."""


def fair_share(rank: int, publishers: int) -> int:
    """How many shards the publisher at place ``rank`` (from 0) of ``publishers`` may hold."""
    return SHARDS // publishers + (1 if rank < SHARDS % publishers else 0)


class Leases:
    """Takes, holds and gives back shards.

    Args:
        database: where the leases are.
        shards: those that this process owns; this is the one place that adds to it and takes from it.
        name: this publisher's, unlike any other's.
        lease: seconds after which others may take a shard that was not renewed.
        gained: is called when there are new shards.
        settle: waits, for so many seconds at most, until nothing of some shards, which take no more rows, is on its
            way or undeleted.
    """

    def __init__(
        self,
        database: Database,
        shards: dict[int, OwnedShard],
        *,
        name: str,
        lease: float,
        gained: Callable[[], None],
        settle: Callable[[Sequence[OwnedShard], float], Awaitable[None]],
    ) -> None:
        self._database = database
        self._shards = shards
        self._name = name
        self._lease = timedelta(seconds=lease)
        self._gained = gained
        self._settle = settle
        self._renewed_at = time.monotonic()
        self._woken = asyncio.Event()
        self._leaving = False
        self._turn = asyncio.Lock()

    @property
    def _period(self) -> float:
        return self._lease.total_seconds() / _RENEWALS

    def wake(self) -> None:
        """Somebody may have gone, or taken a shard."""
        self._woken.set()

    async def run(self) -> None:
        """Hold a fair share until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.tick()
            except UnavailableError as error:
                _log.warning("leases_not_renewed", error=str(error))
                self._drop_if_expired()
            try:
                async with asyncio.timeout(self._period * random.uniform(0.9, 1)):  # noqa: S311 -- spreads, hides nothing
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def tick(self) -> None:
        """Renew what is held, drop what is lost, give back what is too much and take what is free.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        async with self._turn:
            if not self._leaving:
                await self._hold_share()

    async def _hold_share(self) -> None:
        asked_at = time.monotonic()
        async with self._database.connection() as connection:
            rank, publishers = await report_alive(connection, name=self._name, lease=self._lease)
            held = await renew_leases(connection, name=self._name, lease=self._lease)
            self._renewed_at = asked_at
            self._keep(held)
            share = fair_share(rank, publishers)
            if len(self._shards) < share:
                wanted = share - len(self._shards)
                self._keep(
                    held | await claim_shards(connection, name=self._name, lease=self._lease, limit=wanted)
                )
        if len(self._shards) > share:
            # No longer than to the next renewal: the shards that are kept must not be lost over those that go.
            await self._give_back(sorted(self._shards)[share:], settle_within=self._period)

    async def confirm(self, shard: OwnedShard) -> int | None:
        """The greatest row number drawn so far if ``shard`` is still this process's, else None.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            return await newest_if_owner(connection, name=self._name, shard=shard.number, epoch=shard.epoch)

    async def _give_back(self, numbers: Sequence[int], *, settle_within: float) -> None:
        """Hand shards over: once nothing of them is on its way, others may take them at once."""
        leaving = [self._shards[number] for number in numbers]
        for shard in leaving:
            shard.leaving = True
        await self._settle(leaving, settle_within)
        for number in numbers:
            self._shards.pop(number, None)
        async with self._database.connection() as connection:
            await release_shards(connection, name=self._name, shards=numbers)
            await notify_of_free_shards(connection)
        _log.info("shards_given_back", shards=list(numbers))

    async def leave(self) -> None:
        """Give everything back and be gone.

        Raises:
            UnavailableError: the database cannot be reached; the leases run out by themselves.
        """
        self._leaving = True
        async with self._turn:  # whatever was just being claimed has to go too
            async with self._database.connection() as connection:
                await sign_off(connection, name=self._name)
            await self._give_back(sorted(self._shards), settle_within=_LAST_SETTLING)

    def _keep(self, held: dict[int, int]) -> None:
        lost, gained = hold(self._shards, held)
        if lost:
            _log.warning("shards_lost", shards=lost)
        if gained:
            _log.info("shards_taken", shards=gained)
            self._gained()

    def _drop_if_expired(self) -> None:
        if time.monotonic() - self._renewed_at > self._lease.total_seconds() and self._shards:
            _log.warning("shards_lost", shards=sorted(self._shards), reason="the lease ran out")
            self._shards.clear()
