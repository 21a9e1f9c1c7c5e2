"""The page on Debezium against the schema that it speaks of; the connector itself is none of these tests' servers."""

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


async def test_the_router_is_told_of_columns_that_are_there(postgres: Postgres) -> None:
    """Each one by the name that it has in the table."""
    rows = await postgres.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'outbox'"
    )
    columns = {row["column_name"] for row in rows}
    given = _properties()
    named = {
        value
        for name, value in given.items()
        if name.startswith(f"{_ROUTER}table.field.") or name == f"{_ROUTER}route.by.field"
    }
    placed = given[f"{_ROUTER}table.fields.additional.placement"].split(",")
    named |= {one.split(":")[0] for one in placed}
    assert {"id", "aggregatetype", "aggregateid", "type", "payload", "version", "created_at"} <= named
    assert named <= columns


async def test_the_statements_of_the_page_work(postgres: Postgres) -> None:
    """The role sees the outbox, no key and no secret; the clean-up takes what is old and nothing else."""
    preparing, cleaning = _blocks("sql")
    warned: list[str] = []
    postgres.add_log_listener(lambda _, message: warned.append(str(message)))
    try:
        await postgres.execute(preparing)
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
    await postgres.execute(cleaning)
    assert await waiting(postgres) == 1
    assert len(warned) == 1
    assert "wal_level" in warned[0], "this server has none that suffices"
