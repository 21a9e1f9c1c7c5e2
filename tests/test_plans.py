"""What a statement reads depends neither on the size of the tables nor on whether they were ever analyzed."""

from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from service.postgres.database import Database, Limits
from tests.explained import Cost, ExplainedConnection
from tests.outbox import Postgres
from tests.plan_calls import CALLS
from tests.plan_data import fill, forbid_autovacuum
from tests.statements import statements

_MOST_ROWS, _MOST_BLOCKS = 60, 150
"""What a statement reads at most if it returns or changes at most twenty rows; the tables have thousands."""

_READ_MORE = {
    "full_scan._SELECT_KEY_STATUSES": "`events reconcile`: reads the outbox once for 500 differences",
    "key_pages._LAST_NEWER": "a search, which has a limit of its own",
    "key_pages._LAST_OLDER": "a search, which has a limit of its own",
    "key_pages._SEARCH_NEWER": "a search, which has a limit of its own",
    "key_pages._SEARCH_OLDER": "a search, which has a limit of its own",
    "outbox._IS_UNPUBLISHED": "has a limit of its own: the oldest rows of one shard",
    "outbox_admin._COUNT_BLOCKED": "`events parked`: reads the rows of one shard",
    "outbox_admin._SELECT_BACKLOG": "has a limit of its own, for each shard",
}

_NOT_MEASURED = {
    "audit._OF_ALL": "`audit list`, a command that searches the entries of all organizations",
    "deleted_keys._LOCK_BETWEEN": "a batch of a replay, between two ids that the statement before it determined",
    "deleted_keys._SELECT_LAST_SCANNED": "a batch of a replay, with a limit of its own",
    "exports._SELECT_KEYS": "`export` reads every row, in pages",
    "exports._SELECT_ORGANIZATIONS": "`export` reads every row, in pages",
    "exports._SELECT_PROJECTS": "`export` reads every row, in pages",
    "full_scan._SELECT_DELETED_KEYS": "`events reconcile` reads every row, in pages",
    "full_scan._SELECT_KEYS": "`events reconcile` reads every row, in pages",
    "full_scan._SELECT_OUTBOX_ROWS": "`events reconcile` reads every row, in pages",
    "grants._SELECT_ROLE": "`migrate`, reads the catalog",
    "key_locks._LOCK_BETWEEN": "a batch of a job, between two ids that the statement before it determined",
    "key_locks._SELECT_LAST_SCANNED": "a batch of a job, with a limit of its own",
    "keys._COUNT": "`events replay` counts what it will publish",
    "migrate._IS_INVALID": "`migrate`, reads the catalog",
    "migrate._RECORD": "`migrate`, inserts into a table of a few rows",
    "migrate._TRY_LOCK": "`migrate`, reads no table",
    "migrate._UNLOCK": "`migrate`, reads no table",
    "schema._SELECT_STATE": "reads tables with a row for each migration",
    "schema._SELECT_VERSION": "reads a table with a row for each version",
    "session._SELECT": "reads no table",
    "tokens._SELECT_ALL": "`token list`, a command that shows all tokens",
    "transfers._RAISE_SEQUENCE": "`import`, reads the catalog",
    "transfers._TRY_LOCK": "`import`, reads no table",
    "transfers._UNLOCK": "`import`, reads no table",
}

_NAMES = {statement.text: statement.name for statement in statements()}


@pytest.fixture
async def measured(database_url: str, postgres: Postgres) -> AsyncIterator[Postgres]:
    """A connection with the settings of the service to a database whose tables are empty and never analyzed."""
    await forbid_autovacuum(postgres)
    parameters = Database(lambda: database_url, Limits()).session_parameters
    connection = await asyncpg.connect(database_url, server_settings=parameters)
    yield connection
    await connection.close()


async def _costs(explained: ExplainedConnection, postgres: Postgres) -> list[Cost]:
    """Return the costs of all statements."""
    for calls in CALLS:
        transaction = postgres.transaction()
        await transaction.start()
        await calls(explained)
        await transaction.rollback()
    costs, explained.costs = explained.costs, []
    return costs


def _report(costs: Sequence[Cost], when: str) -> list[str]:
    """Describe each statement that reads too much, once."""
    excessive = {
        cost.name: f"{cost.name} reads {cost.rows} rows in {cost.blocks} blocks {when}:\n{cost.plan}"
        for cost in costs
        if (cost.rows > _MOST_ROWS or cost.blocks > _MOST_BLOCKS) and cost.name not in _READ_MORE
    }
    return sorted(excessive.values())


async def test_no_statement_depends_on_statistics(measured: Postgres, postgres: Postgres) -> None:
    """With plans for the arguments and for any, never analyzed and analyzed, and planned while tables were empty."""
    explained = ExplainedConnection(measured, _NAMES)
    await measured.execute("SET plan_cache_mode = force_generic_plan")
    await explained.plan_all()
    await fill(postgres)
    costs = await _costs(explained, measured)
    found = _report(costs, "with a plan for empty tables")
    for when in ("not analyzed", "analyzed"):
        if when == "analyzed":
            await postgres.execute("ANALYZE")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await explained.forget_plans()
            await measured.execute(f"SET plan_cache_mode = {mode}")
            found += _report(await _costs(explained, measured), f"{when}, with {mode}")
    assert not found, "\n\n".join(found)
    assert {cost.name for cost in costs} == set(_NAMES.values()) - set(_NOT_MEASURED)
