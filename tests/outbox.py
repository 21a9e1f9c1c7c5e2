"""Writes outbox rows directly, without the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg

from service.domain.events import Event, EventType, OutboxRow
from service.domain.model import new_key_half
from service.postgres.database import Connection
from service.postgres.outbox import PostgresOutbox

Postgres: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_INSERT = """
    INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, '{}', $7)
    RETURNING seq
"""

_CHANGE = """
    WITH changed AS (
        UPDATE project_key SET version = version + 1 WHERE public_key = $2 RETURNING public_key, version
    )
    INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers)
    SELECT $1, public_key, 'projectkey.updated', version, $3,
           json_build_object('id', public_key, 'version', version), '{}'
    FROM changed
"""


def new_row(*, shard: int = 0, key: str = "", version: int = 1, payload: str = '{"any": "text"}') -> OutboxRow:
    """Build a row of a new key, or of ``key``, without inserting it."""
    event = Event(
        id=uuid4(),
        type=EventType.CREATED,
        public_key=key or new_key_half(),
        version=version,
        shard=shard,
        payload=payload,
        headers={},
        occurred_at=datetime.now(UTC),
    )
    return OutboxRow(seq=1_000_000_000, event=event)


async def write_row(
    postgres: Postgres,
    *,
    shard: int = 0,
    key: str = "",
    version: int = 1,
    payload: str = '{"any": "text"}',
) -> OutboxRow:
    """Commit a row without a notification."""
    row = new_row(shard=shard, key=key, version=version, payload=payload)
    event = row.event
    seq = await postgres.fetchval(
        _INSERT,
        event.id,
        event.public_key,
        event.type,
        version,
        shard,
        event.payload,
        event.occurred_at,
    )
    return replace(row, seq=seq)


async def change(postgres: Postgres, key: str, *, shard: int) -> None:
    """Commit a new version of ``key`` with its event, as another process does."""
    await postgres.execute(_CHANGE, uuid4(), key, shard)


async def waiting(postgres: Postgres) -> int:
    """Return the number of rows in the outbox."""
    number: int = await postgres.fetchval("SELECT count(*) FROM outbox")
    return number


class OneConnection:
    """The part of a `Database` that acquires a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Return always the same connection."""
        yield self._connection


def outbox_of(connection: Connection) -> PostgresOutbox:
    """Return the outbox, read and written on this connection."""
    pool: Any = OneConnection(connection)
    return PostgresOutbox(pool)
