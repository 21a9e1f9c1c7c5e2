"""A connection that measures what each statement costs Postgres before it executes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.outbox import Postgres

_ROWS_READ = """
    SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_xact_user_tables
"""
"""Rows that the transaction has read so far, with those that a filter removed and those of foreign key checks."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a statement reads.

    Attributes:
        name: The name of the statement.
        rows: Rows, whether they are part of the result or not.
        blocks: Blocks of 8 KiB, with those of indexes: they show the scan of a whole index.
        plan: The plan.
    """

    name: str
    rows: int
    blocks: int
    plan: str


class ExplainedConnection:
    """The methods of a connection that functions of ``service/postgres`` use.

    Args:
        postgres: A connection in a transaction.
        names: The names of the statements to be measured, by their texts.
    """

    def __init__(self, postgres: Postgres, names: Mapping[str, str]) -> None:
        self.costs: list[Cost] = []
        self._postgres = postgres
        self._names = names
        self._parameters: dict[str, list[str]] = {}

    async def fetch(self, statement: str, *arguments: Any, **_: Any) -> Any:
        """Measure and execute a statement; the other methods do the same."""
        await self._measure(statement, arguments)
        return await self._postgres.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: Any, **_: Any) -> Any:
        """See `fetch`."""
        await self._measure(statement, arguments)
        return await self._postgres.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: Any, **_: Any) -> Any:
        """See `fetch`."""
        await self._measure(statement, arguments)
        return await self._postgres.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any, **_: Any) -> Any:
        """See `fetch`."""
        await self._measure(statement, arguments)
        return await self._postgres.execute(statement, *arguments)

    async def plan_all(self) -> None:
        """Make a generic plan of every statement, which is cached."""
        for statement, name in self._names.items():
            parameters = await self._prepare(statement)
            await self._postgres.execute(f"EXPLAIN {_call(name, ['NULL'] * len(parameters))}")

    async def forget_plans(self) -> None:
        """Forget the cached plans."""
        for name in self._parameters:
            await self._postgres.execute(f'DEALLOCATE "{name}"')
        self._parameters.clear()

    async def _prepare(self, statement: str) -> list[str]:
        """Prepare a statement under its name; return the types of its parameters."""
        name = self._names[statement]
        if name not in self._parameters:
            await self._postgres.execute(f'PREPARE "{name}" AS {statement}')
            self._parameters[name] = await self._postgres.fetchval(
                "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = $1", name
            )
        return self._parameters[name]

    async def _measure(self, statement: str, arguments: tuple[Any, ...]) -> None:
        if (name := self._names.get(statement)) is None:
            return
        types = await self._prepare(statement)
        texts = [f"quote_nullable(${number}::{name}::text)" for number, name in enumerate(types, start=1)]
        literals = await self._postgres.fetchval(f"SELECT ARRAY[{', '.join(texts)}]::text[]", *arguments)
        savepoint = self._postgres.transaction()
        await savepoint.start()
        before = await self._postgres.fetchval(_ROWS_READ)
        explained = await self._postgres.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {_call(name, literals)}")
        rows = await self._postgres.fetchval(_ROWS_READ) - before
        await savepoint.rollback()
        plan = orjson.loads(explained)[0]["Plan"]
        blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.costs.append(Cost(name, rows, blocks, "\n".join(_lines(plan))))


def _call(name: str, arguments: list[str]) -> str:
    return f'EXECUTE "{name}"' + (f" ({', '.join(arguments)})" if arguments else "")


def _lines(node: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Return a line for each node of a plan that reads rows, with its parents."""
    names = (node["Node Type"], node.get("Index Name") or node.get("Relation Name") or "")
    removed = node.get("Rows Removed by Filter", 0)
    yield f"{indent}{' '.join(names)}: {node['Actual Loops']} x ({node['Actual Rows']} + {removed} rows)"
    for child in node.get("Plans", []):
        yield from _lines(child, indent + "  ")
