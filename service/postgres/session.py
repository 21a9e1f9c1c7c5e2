"""Checks the parameters of a session that the service relies on: through PgBouncer it cannot set them."""

from collections.abc import Mapping
from typing import Final

import asyncpg

from service.postgres.database import Connection

REQUIRED_ENCODING: Final = "UTF8"
"""The encoding of the database: names may contain any character."""

_SELECT: Final = """
    SELECT name, setting FROM pg_settings
    WHERE name = ANY($1::text[]) OR name IN ('transaction_read_only', 'server_encoding', 'synchronous_commit')
"""


async def check_session(connection: Connection, expected: Mapping[str, str]) -> str | None:
    """Return a text that names each parameter with another value than ``expected``; None if there is none.

    Raises:
        ReadOnlySQLTransactionError: The database is read-only.
    """
    rows = await connection.fetch(_SELECT, list(expected))
    found: dict[str, str] = {row["name"]: row["setting"] for row in rows}
    if found.pop("transaction_read_only") == "on":
        raise asyncpg.ReadOnlySQLTransactionError("cannot write")
    differing = [
        f"{name} is '{found[name]}', not '{value}'"
        for name, value in expected.items()
        if found.get(name, value) != value
    ]
    if found["server_encoding"] != REQUIRED_ENCODING:
        differing.append(f"server_encoding is {found['server_encoding']}: use a database with {REQUIRED_ENCODING}")
    if found["synchronous_commit"] == "off":
        differing.append("synchronous_commit is 'off': a crash loses acknowledged keys")
    if not differing:
        return None
    return f"{'; '.join(differing)}: set the parameters of the role with ALTER ROLE … SET"
