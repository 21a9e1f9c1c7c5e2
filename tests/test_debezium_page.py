"""The page about Debezium matches the schema. The tests do not run the connector."""

import re
from collections.abc import Iterator

from testkit.processes import ROOT
from tests.outbox import Postgres, waiting, write_row

_PAGE = (ROOT / "docs" / "debezium.md").read_text()
_ROUTER = "transforms.outbox."


def _blocks(language: str) -> Iterator[str]:
    return (block[1] for block in re.finditer(rf"^```{language}\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL))


def _properties() -> dict[str, str]:
    [block] = _blocks("properties")
    return dict(line.split("=", 1) for line in block.splitlines() if not line.startswith("#"))


async def test_the_router_configuration_names_existing_columns(postgres: Postgres) -> None:
    """Each column name of the properties is a column of the outbox."""
    rows = await postgres.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = 'outbox'")
    columns = {row["column_name"] for row in rows}
    properties = _properties()
    named = {
        value
        for name, value in properties.items()
        if name.startswith(f"{_ROUTER}table.field.") or name == f"{_ROUTER}route.by.field"
    }
    placements = properties[f"{_ROUTER}table.fields.additional.placement"].split(",")
    named |= {placement.split(":")[0] for placement in placements}
    assert {"id", "aggregatetype", "aggregateid", "type", "payload", "version", "created_at"} <= named
    assert named <= columns


async def test_the_sql_statements_of_the_page_succeed(postgres: Postgres) -> None:
    """The role can read the outbox and no keys; the clean-up deletes old rows only."""
    setup, cleanup = _blocks("sql")
    warnings: list[str] = []
    postgres.add_log_listener(lambda _, message: warnings.append(str(message)))
    try:
        await postgres.execute(setup)
        assert await postgres.fetchval("SELECT has_table_privilege('debezium', 'outbox', 'SELECT')")
        assert not await postgres.fetchval("SELECT has_table_privilege('debezium', 'project_key', 'SELECT')")
        published = await postgres.fetchrow("SELECT pubinsert, pubupdate, pubdelete FROM pg_publication")
        assert published is not None
        assert tuple(published) == (True, False, False)
    finally:
        await postgres.execute("DROP OWNED BY debezium")
        await postgres.execute("DROP ROLE debezium")
    await write_row(postgres)
    await postgres.execute("UPDATE outbox SET created_at = now() - interval '2 hours'")
    await write_row(postgres)
    await postgres.execute(cleanup)
    assert await waiting(postgres) == 1
    assert len(warnings) == 1
    assert "wal_level" in warnings[0], "wal_level of the test server is not logical"
