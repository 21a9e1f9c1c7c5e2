"""The tables outbox_shard and outbox_publisher: which process publishes which shard, by the database's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from service.postgres.database import Connection, Database

_REPORT_ALIVE: Final = """
    INSERT INTO outbox_publisher (name, lease_until)
    VALUES ($1, clock_timestamp() + $2::interval)
    ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until
"""

_DELETE_EXPIRED: Final = "DELETE FROM outbox_publisher WHERE lease_until < clock_timestamp() - interval '1 minute'"

_SELECT_RANK: Final = """
    SELECT count(*) FILTER (WHERE name < $1) AS rank, count(*) AS publishers
    FROM outbox_publisher
    WHERE name = $1 OR lease_until BETWEEN clock_timestamp() AND clock_timestamp() + $2::interval
"""

LONGEST_LEASE: Final = timedelta(minutes=5)
"""No lease is longer. A lease that ends later was claimed before the database's clock was set back and counts as
expired: another publisher may claim the shard, and Kafka then fences the former owner."""

_RENEW: Final = """
    UPDATE outbox_shard
    SET lease_until = clock_timestamp() + $2::interval
    WHERE owner = $1
    RETURNING shard, epoch
"""

_CLAIM: Final = """
    UPDATE outbox_shard
    SET owner = $1, epoch = epoch + 1, lease_until = clock_timestamp() + $2::interval
    WHERE shard IN (
        SELECT shard
        FROM outbox_shard
        WHERE owner IS NULL OR lease_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + $4::interval
        ORDER BY shard
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    )
    RETURNING shard, epoch
"""

_NEWEST_SEQ_IF_OWNER: Final = """
    SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_seq_seq) AS newest_seq,
           pg_postmaster_start_time() AS server_started_at
    FROM outbox_shard
    WHERE shard = $2 AND owner = $1 AND epoch = $3 AND lease_until >= clock_timestamp()
    FOR SHARE OF outbox_shard -- fails on a server that is read-only since a failover
"""

_RELEASE: Final = """
    UPDATE outbox_shard
    SET owner = NULL, lease_until = NULL
    WHERE owner = $1 AND shard = ANY($2::smallint[])
"""

SHARDS_RELEASED: Final = "outbox_shard"
"""The channel of released shards; not that of committed rows, which is busy, while a claim is expensive."""

_NOTIFY_RELEASED: Final = f"NOTIFY {SHARDS_RELEASED}"

_SIGN_OFF: Final = "DELETE FROM outbox_publisher WHERE name = $1"

_COUNT_PUBLISHERS: Final = "SELECT count(*) FROM outbox_publisher WHERE lease_until > clock_timestamp()"


async def count_publishers(connection: Connection) -> int:
    """Return the number of live publishers."""
    return int(await connection.fetchval(_COUNT_PUBLISHERS))


class PostgresShardOwnership:
    """The leases of one publisher; each method takes a connection of its own from the pool.

    Args:
        database: The pool.
        name: The publisher's name, unique among all processes.
        lease: How long a shard stays owned without a renewal, in seconds.
    """

    def __init__(self, database: Database, *, name: str, lease: float) -> None:
        self._database = database
        self._name = name
        self._lease = timedelta(seconds=lease)

    @property
    def lease(self) -> timedelta:
        """How long a shard stays owned without a renewal."""
        return self._lease

    async def report_alive(self) -> tuple[int, int]:
        """Register this publisher as live until its lease ends.

        Returns:
            Its rank among the live publishers by name, from 0, and their number.

        Raises:
            UnavailableError: The database is unavailable; every method raises it.
        """
        async with self._database.connection() as connection:
            await connection.execute(_REPORT_ALIVE, self._name, self._lease)
            await connection.execute(_DELETE_EXPIRED)
            row = await connection.fetchrow(_SELECT_RANK, self._name, LONGEST_LEASE)
            assert row is not None, "an aggregate has one row"
            return row["rank"], row["publishers"]

    async def renew(self) -> dict[int, int]:
        """Renew every shard that this publisher owns; return their epochs by shard.

        An expired lease is renewed too if no other publisher has claimed the shard.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_RENEW, self._name, self._lease)
        return {row["shard"]: row["epoch"] for row in rows}

    async def claim(self, *, limit: int) -> dict[int, int]:
        """Claim at most ``limit`` shards without a valid lease; return their new epochs by shard."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CLAIM, self._name, self._lease, limit, LONGEST_LEASE)
        return {row["shard"]: row["epoch"] for row in rows}

    async def newest_seq_if_owner(self, shard: int, *, epoch: int) -> tuple[int, datetime] | None:
        """Return the highest seq drawn so far, by a row of any shard, committed or not, and when the server started.

        None if this publisher has no valid lease on ``shard`` in this ``epoch``.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_NEWEST_SEQ_IF_OWNER, self._name, shard, epoch)
            return (row["newest_seq"], row["server_started_at"]) if row else None

    async def release(self, shards: Sequence[int]) -> None:
        """Release ``shards`` and notify the other publishers, so that they claim them at once."""
        async with self._database.connection() as connection:
            await connection.execute(_RELEASE, self._name, shards)
            await connection.execute(_NOTIFY_RELEASED)

    async def sign_off(self) -> None:
        """Remove this publisher from the live ones, so that the others share its shards."""
        async with self._database.connection() as connection:
            await connection.execute(_SIGN_OFF, self._name)
