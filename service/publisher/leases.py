"""Claims, renews and releases shards, so that the live publishers own equal shares."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from service.domain.errors import UnavailableError
from service.domain.events import SHARDS
from service.publisher.owned_shards import OwnedShards
from service.publisher.protocols import ShardOwnership
from service.publisher.shard_queue import ShardQueue
from service.publisher.signals import Signals

_log = structlog.get_logger(__name__)

_RENEWALS_PER_LEASE: Final = 3
"""Two renewals in a row may fail before a shard is lost."""

_SHUTDOWN_DRAIN_TIMEOUT: Final = 5.0
"""Seconds to wait for records in flight when the process ends; after that they may be sent twice."""


def fair_share(rank: int, publishers: int) -> int:
    """Return how many shards the publisher of this ``rank`` (from 0) may own."""
    return SHARDS // publishers + (1 if rank < SHARDS % publishers else 0)


class Leases:
    """Keeps the set of owned shards equal to the leases in the database.

    Args:
        ownership: The leases in the database.
        shards: The owned shards; only this class adds to it.
        signals: The events that wake the loops of the publisher.
        drain: Waits until the given shards have no record in flight, at most for the given number of seconds.
    """

    def __init__(
        self,
        ownership: ShardOwnership,
        shards: OwnedShards,
        signals: Signals,
        *,
        drain: Callable[[Sequence[ShardQueue], float], Awaitable[None]],
    ) -> None:
        self._ownership = ownership
        self._shards = shards
        self._signals = signals
        self._drain = drain
        self._lease = ownership.lease.total_seconds()
        self._renewed_at = time.monotonic()
        self._leaving = False
        self._rebalancing = asyncio.Lock()

    @property
    def _renewal_interval(self) -> float:
        return self._lease / _RENEWALS_PER_LEASE

    async def run(self) -> None:
        """Renew and rebalance until cancelled."""
        while True:
            self._signals.leases.clear()
            try:
                await self.rebalance()
            except UnavailableError as error:
                _log.log(error.log_level, "leases_not_renewed", error=str(error))
                self._drop_if_expired()
            try:
                async with asyncio.timeout(self._renewal_interval * random.uniform(0.9, 1)):  # noqa: S311 -- jitter is no secret
                    await self._signals.leases.wait()
            except TimeoutError:
                continue

    async def rebalance(self) -> None:
        """Renew the owned shards, drop the lost ones, claim free ones or release the surplus.

        Raises:
            UnavailableError: The database is unavailable.
        """
        async with self._rebalancing:
            if not self._leaving:
                await self._keep_share()

    async def _keep_share(self) -> None:
        renewed_at = time.monotonic()
        rank, publishers = await self._ownership.report_alive()
        epochs = await self._ownership.renew()
        self._renewed_at = renewed_at
        self._apply(epochs)
        share = fair_share(rank, publishers)
        if len(self._shards) < share:
            self._apply(epochs | await self._ownership.claim(limit=share - len(self._shards)))
        if len(self._shards) > share:
            # The wait ends before the next renewal is due: otherwise the leases of the other shards could expire.
            await self._release(self._shards.numbers[share:], drain_timeout=self._renewal_interval)

    async def _release(self, numbers: Sequence[int], *, drain_timeout: float) -> None:
        """Drain shards and release them, so that other publishers can claim them at once."""
        draining = [shard for number in numbers if (shard := self._shards.get(number)) is not None]
        for shard in draining:
            shard.start_draining()
        await self._drain(draining, drain_timeout)
        self._shards.remove(numbers)
        await self._ownership.release(numbers)
        _log.info("shards_released", shards=list(numbers))

    async def leave(self) -> None:
        """Release every shard and claim no further ones.

        Raises:
            UnavailableError: The database is unavailable; the leases expire by themselves.
        """
        self._leaving = True
        async with self._rebalancing:  # a claim in progress ends first, and its shards are released too
            await self._ownership.sign_off()
            await self._release(self._shards.numbers, drain_timeout=_SHUTDOWN_DRAIN_TIMEOUT)

    def _apply(self, epochs: Mapping[int, int]) -> None:
        lost, gained = self._shards.apply_leases(epochs)
        if lost:
            _log.warning("shards_lost", shards=lost)
        if gained:
            _log.info("shards_claimed", shards=gained)
            self._signals.sender.set()

    def _drop_if_expired(self) -> None:
        if time.monotonic() - self._renewed_at > self._lease and len(self._shards):
            _log.warning("shards_lost", shards=self._shards.numbers, reason="the lease expired")
            self._shards.clear()
