"""Protocols of the publisher's dependencies, which `service.postgres` and `service.kafka` implement."""

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

from service.domain.events import OutboxRow
from service.kafka.types import Batch, Outcome, ProducerSession


class Producer(Protocol):
    """Sends records to Kafka in one fenced session per shard."""

    async def open(self, shard: int) -> ProducerSession:
        """Open a session; Kafka rejects records of every earlier session of the shard.

        Raises:
            KafkaFailureError: The session could not be opened.
        """

    async def send(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Send batches of different shards; return one outcome for each, in the same order."""

    def leader(self, shard: int) -> Hashable:
        """Return the broker that leads the shard's partition: batches for one broker share a request."""


class OutboxStore(Protocol):
    """The outbox table and the notifications about it; every method may raise UnavailableError."""

    async def select_unpublished(
        self, limits: Mapping[int, int], *, held: Collection[int]
    ) -> tuple[list[OutboxRow], datetime | None]:
        """Return the oldest rows of some shards, ordered by seq.

        Parked rows and later rows of the same keys are left out.

        Args:
            limits: The shards, and the maximum number of rows of each.
            held: Seqs of rows that are left out.

        Returns:
            The rows, and when the database server that has them started; None without a row.
        """

    async def delete_published(
        self, acknowledged: Sequence[tuple[int, int, int]], *, server_started_at: datetime
    ) -> datetime:
        """Delete rows given as (shard, seq, epoch); return when the database server started.

        Rows of a shard with another epoch stay, and all rows if the server started at another time.
        """

    async def park(self, row: OutboxRow, *, epoch: int, server_started_at: datetime, reason: str) -> bool:
        """Park a row that Kafka rejects; return False if the shard's epoch or the server is another one."""

    async def notify_publishers(self) -> None:
        """Notify the publishers of other processes that rows were committed."""

    @property
    def can_listen(self) -> bool:
        """Whether notifications can be received."""

    def listen(
        self, *, rows_committed: Callable[[], None], shards_released: Callable[[], None]
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[bool]]]:
        """Call the functions on each notification, until the end of the block.

        The block receives a function that checks whether the connection still works.
        """


class ShardOwnership(Protocol):
    """The leases of one publisher, by the database's clock; every method may raise UnavailableError."""

    @property
    def lease(self) -> timedelta:
        """How long a shard stays owned without a renewal."""

    async def report_alive(self) -> tuple[int, int]:
        """Register this publisher; return its rank among the live ones, from 0, and their number."""

    async def renew(self) -> dict[int, int]:
        """Renew every shard that this publisher owns; return their epochs by shard."""

    async def claim(self, *, limit: int) -> dict[int, int]:
        """Claim at most ``limit`` free shards; return their new epochs by shard."""

    async def newest_seq_if_owner(self, shard: int, *, epoch: int) -> tuple[int, datetime] | None:
        """Return the highest seq drawn so far and when the database server started.

        None if this publisher does not own the shard in ``epoch``.
        """

    async def release(self, shards: Sequence[int]) -> None:
        """Release shards and notify the other publishers."""

    async def sign_off(self) -> None:
        """Remove this publisher from the live ones."""
