"""The statement that inserts keys."""

import asyncpg
import orjson

from service.app import Service, ingest_from
from service.domain.events import EventFactory
from service.domain.model import NewProjectKey, utc_now
from service.postgres.key_writes import insert_keys
from service.usecases.create_key import prepare_key
from tests.conftest import ORIGIN, make_project


async def test_the_outbox_has_the_bytes_that_are_published_from_memory(
    service: Service, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A record that is sent again, from the table, is the same record; names have characters with several forms."""
    project = await make_project(service)
    events = EventFactory(ingest_from(service.settings), to_json=orjson.dumps)
    names = ['" \\ / \\u0041', "a\tb\x01\x7f", "é ☃ 😀 \u2028", "</script>", "{} [] , :"]
    batch = [prepare_key(events, NewProjectKey(name), project, ORIGIN, utc_now()) for name in names]
    async with service.database.connection() as connection:
        rows = await insert_keys(connection, batch)
    assert [row.event.id for row in rows] == [prepared.event.id for prepared in batch]
    stored = {row["seq"]: row for row in await postgres.fetch("SELECT * FROM outbox")}
    assert [stored[row.seq]["payload"] for row in rows] == [row.event.payload for row in rows]
    assert [stored[row.seq]["id"] for row in rows] == [row.event.id for row in rows]
