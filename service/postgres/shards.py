"""The tables outbox_shard and outbox_publisher: who publishes what, by the database's clock."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from service.postgres.database import Connection

_REPORT_ALIVE: Final = """
    INSERT INTO outbox_publisher (name, lease_until)
    VALUES ($1, clock_timestamp() + $2::interval)
    ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until
"""

_FORGET_DEAD: Final = (
    "DELETE FROM outbox_publisher WHERE lease_until < clock_timestamp() - interval '1 minute'"
)

_RANK: Final = """
    SELECT count(*) FILTER (WHERE name < $1) AS rank, count(*) AS publishers
    FROM outbox_publisher
    WHERE name = $1 OR lease_until BETWEEN clock_timestamp() AND clock_timestamp() + $2::interval
"""

LONGEST_LEASE: Final = timedelta(minutes=5)
"""No lease is made for longer. One that ends later was made before the database's clock was put back, and is over:
its owner, if it lives, is fenced and takes another shard."""


async def report_alive(connection: Connection, *, name: str, lease: timedelta) -> tuple[int, int]:
    """Say that the publisher ``name`` lives.

    Returns:
        Its place among the living by name, from 0, and how many they are.
    """
    await connection.execute(_REPORT_ALIVE, name, lease)
    await connection.execute(_FORGET_DEAD)
    row = await connection.fetchrow(_RANK, name, LONGEST_LEASE)
    assert row is not None, "an aggregate has one row"
    return row["rank"], row["publishers"]


_RENEW: Final = """
    UPDATE outbox_shard
    SET lease_until = clock_timestamp() + $2::interval
    WHERE owner = $1
    RETURNING shard, epoch
"""


async def renew_leases(connection: Connection, *, name: str, lease: timedelta) -> dict[int, int]:
    """Hold on to every shard that is still ``name``'s; returns their epochs by shard.

    A lease that has run out is renewed too if nobody has taken the shard.
    """
    return {row["shard"]: row["epoch"] for row in await connection.fetch(_RENEW, name, lease)}


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


async def claim_shards(connection: Connection, *, name: str, lease: timedelta, limit: int) -> dict[int, int]:
    """Take at most ``limit`` shards that nobody holds; returns their new epochs by shard."""
    rows = await connection.fetch(_CLAIM, name, lease, limit, LONGEST_LEASE)
    return {row["shard"]: row["epoch"] for row in rows}


_NEWEST_IF_OWNER: Final = """
    SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_seq_seq)
    FROM outbox_shard
    WHERE shard = $2 AND owner = $1 AND epoch = $3 AND lease_until >= clock_timestamp()
"""


async def newest_if_owner(connection: Connection, *, name: str, shard: int, epoch: int) -> int | None:
    """The greatest number that an outbox row has drawn so far, of any shard and committed or not.

    None if ``name`` does not hold ``shard`` in this ``epoch``, with time left.
    """
    newest: int | None = await connection.fetchval(_NEWEST_IF_OWNER, name, shard, epoch)
    return newest


_RELEASE: Final = """
    UPDATE outbox_shard
    SET owner = NULL, lease_until = NULL
    WHERE owner = $1 AND shard = ANY($2::smallint[])
"""


async def release_shards(connection: Connection, *, name: str, shards: Sequence[int]) -> None:
    """Give ``shards`` back, for others to take at once."""
    await connection.execute(_RELEASE, name, shards)


SHARDS_CAME_FREE: Final = "outbox_shard"
"""The channel on which that is told. Not that of the rows: they come all the time, and looking for shards is dear."""

_NOTIFY: Final = f"NOTIFY {SHARDS_CAME_FREE}"


async def notify_of_free_shards(connection: Connection) -> None:
    """Wake the publishers of other processes to take what was given back."""
    await connection.execute(_NOTIFY)


_SIGN_OFF: Final = "DELETE FROM outbox_publisher WHERE name = $1"


async def sign_off(connection: Connection, *, name: str) -> None:
    """Say that the publisher ``name`` is gone, so that the others share its shards."""
    await connection.execute(_SIGN_OFF, name)


_PUBLISHERS: Final = "SELECT count(*) FROM outbox_publisher WHERE lease_until > clock_timestamp()"


async def count_publishers(connection: Connection) -> int:
    """How many processes publish at the moment."""
    return int(await connection.fetchval(_PUBLISHERS))
