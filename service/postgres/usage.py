"""The tables of usage: key_usage, key_last_seen, usage_offset and usage_reader."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import asyncpg

from service.domain.errors import ConflictError
from service.domain.model import Project
from service.domain.usage import ERROR_CATEGORY, UNKNOWN_KEY, OutcomeKind, UsageCounter
from service.postgres.database import Connection, row_count
from service.postgres.shards import LONGEST_LEASE

_CLAIM: Final = """
    UPDATE usage_reader
    SET owner = $1,
        lease_until = clock_timestamp() + $2::interval,
        complete_since = coalesce(complete_since, clock_timestamp())
    WHERE owner = $1 OR owner IS NULL
        OR lease_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + $3::interval
"""


async def claim_reader(connection: Connection, owner: str, *, lease: timedelta) -> bool:
    """Claim or renew the lease of the reader for ``owner``; return False if another process has it.

    A ``lease`` of no time releases it.
    """
    return row_count(await connection.execute(_CLAIM, owner, lease, LONGEST_LEASE)) == 1


_SELECT_OFFSETS: Final = "SELECT partition, next_offset FROM usage_offset WHERE topic = $1"


async def select_offsets(connection: Connection, topic: str) -> dict[int, int]:
    """Return the next offset of each partition that has been read."""
    return {row["partition"]: row["next_offset"] for row in await connection.fetch(_SELECT_OFFSETS, topic)}


_INSERT_OFFSETS: Final = """
    INSERT INTO usage_offset (topic, partition, next_offset)
    SELECT $1::text, * FROM unnest($2::integer[], $3::bigint[])
    ON CONFLICT DO NOTHING
"""


async def insert_offsets(connection: Connection, topic: str, offsets: Mapping[int, int]) -> None:
    """Insert the first offsets of partitions that have not been read."""
    await connection.execute(_INSERT_OFFSETS, topic, list(offsets), list(offsets.values()))


_MOVE_OFFSETS: Final = """
    UPDATE usage_offset AS stored
    SET next_offset = moved.next_offset
    FROM unnest($2::integer[], $3::bigint[], $4::bigint[]) AS moved (partition, first_offset, next_offset)
    WHERE stored.topic = $1 AND stored.partition = moved.partition AND stored.next_offset = moved.first_offset
"""


async def move_offsets(connection: Connection, topic: str, moves: Mapping[int, tuple[int, int]]) -> None:
    """Move offsets, by partition, from the first to the second value, in the transaction that counts what is between.

    Raises:
        ConflictError: Another process has moved one; the transaction must be rolled back.
    """
    columns = zip(*((partition, *offsets) for partition, offsets in moves.items()), strict=True)
    if row_count(await connection.execute(_MOVE_OFFSETS, topic, *columns)) != len(moves):
        raise ConflictError("another process has counted these outcomes")


_NOTE_GAP: Final = "UPDATE usage_reader SET complete_since = clock_timestamp()"


async def note_gap(connection: Connection) -> None:
    """Record that outcomes were missed just now."""
    await connection.execute(_NOTE_GAP)


# OFFSET 0 forces lookups by id. A sum that would exceed the type stays at its greatest value.
_ADD: Final = f"""
    WITH given AS (
        SELECT coalesce(key.id, {UNKNOWN_KEY}) AS key_id, counted.category, counted.hour, counted.outcome,
               sum(counted.quantity)::bigint AS quantity
        FROM unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::smallint[], $5::bigint[])
             AS counted (key_id, category, hour, outcome, quantity)
        LEFT JOIN LATERAL (SELECT id FROM project_key WHERE id = counted.key_id OFFSET 0) AS key ON true
        GROUP BY 1, 2, 3, 4
    ), added AS (
        INSERT INTO key_usage AS usage (key_id, category, hour, outcome, quantity)
        SELECT key_id, category, hour, outcome, quantity FROM given
        ON CONFLICT (key_id, category, hour, outcome) DO UPDATE
        SET quantity = least(usage.quantity, 9223372036854775807 - excluded.quantity) + excluded.quantity
    ), seen AS (
        INSERT INTO key_last_seen AS seen (key_id, hour)
        SELECT key_id, max(hour) FROM given WHERE key_id <> {UNKNOWN_KEY} GROUP BY key_id
        ON CONFLICT (key_id) DO UPDATE SET hour = excluded.hour WHERE seen.hour < excluded.hour
    )
    SELECT coalesce(sum(quantity), 0)::bigint FROM given WHERE key_id = {UNKNOWN_KEY}
"""


async def add_usage(connection: Connection, quantities: Mapping[UsageCounter, int]) -> int:
    """Add quantities to those that are stored; return the quantity of outcomes without a key that exists.

    Raises:
        ConflictError: A key is being deleted; the transaction must be repeated.
    """
    columns = zip(*((*counter, quantity) for counter, quantity in quantities.items()), strict=True)
    try:
        return int(await connection.fetchval(_ADD, *columns))
    except asyncpg.ForeignKeyViolationError:
        raise ConflictError("a key was deleted while its outcomes were counted") from None


_DELETE_OLD: Final = """
    DELETE FROM key_usage
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM key_usage WHERE hour < clock_timestamp() - $1::interval ORDER BY hour LIMIT $2
    ))
"""


async def delete_old_usage(connection: Connection, *, older_than: timedelta, limit: int) -> int:
    """Delete at most ``limit`` rows whose hour is older; return their number."""
    return row_count(await connection.execute(_DELETE_OLD, older_than, limit))


_SELECT: Final = f"""
    SELECT extract(epoch FROM usage.hour)::bigint / $4 * $4 AS bucket, usage.outcome, sum(usage.quantity) AS quantity
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN key_usage AS usage ON usage.key_id = key.id
    WHERE project.organization_id = $1 AND project.id = $2 AND key.id = $3 AND usage.category = {ERROR_CATEGORY}
        AND usage.outcome = ANY (ARRAY[{", ".join(str(int(kind)) for kind in OutcomeKind)}])
        AND usage.hour >= to_timestamp($5) AND usage.hour < to_timestamp($6)
    GROUP BY bucket, usage.outcome
"""


async def select_usage(
    connection: Connection, project: Project, key_id: int, buckets: range
) -> dict[tuple[int, OutcomeKind], int]:
    """Return the quantities of errors of a key by begin of the bucket and outcome; absent ones are 0.

    ``buckets`` are the Unix times at which they begin, with their length in seconds as the step.
    """
    rows = await connection.fetch(
        _SELECT,
        *(project.organization.id, project.id, key_id, buckets.step),
        *(buckets.start, buckets.start + len(buckets) * buckets.step),
    )
    return {(row["bucket"], OutcomeKind(row["outcome"])): int(row["quantity"]) for row in rows}


_SELECT_COLLECTED_FOR: Final = """
    SELECT clock_timestamp() - complete_since FROM usage_reader
    WHERE lease_until > clock_timestamp() - interval '1 minute'
"""


async def select_collected_for(connection: Connection) -> timedelta | None:
    """Return for how long usage has been counted without a gap, or None if no process counts it now."""
    found: timedelta | None = await connection.fetchval(_SELECT_COLLECTED_FOR)
    return found


# A row of key_last_seen names the beginning of an hour.
_SELECT_UNUSED: Final = """
    SELECT key.id
    FROM unnest($3::bigint[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT id, project_id, created_at FROM project_key WHERE id = wanted.id OFFSET 0
    ) AS key
    CROSS JOIN LATERAL (
        SELECT FROM project WHERE id = $2 AND id = key.project_id AND organization_id = $1 OFFSET 0
    ) AS project
    LEFT JOIN LATERAL (SELECT hour FROM key_last_seen WHERE key_id = key.id OFFSET 0) AS seen ON true
    WHERE greatest(key.created_at, seen.hour + interval '1 hour') <= clock_timestamp() - $4::interval
"""


async def select_unused(
    connection: Connection, project: Project, key_ids: Sequence[int], period: timedelta
) -> set[int]:
    """Return which of these keys have existed for ``period`` and had no outcome in it."""
    rows = await connection.fetch(_SELECT_UNUSED, project.organization.id, project.id, key_ids, period)
    return {row["id"] for row in rows}
