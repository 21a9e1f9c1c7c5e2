"""What the service's role may do: less than the owner of the tables."""

from pathlib import Path
from typing import Final

from service.postgres.database import Connection
from service.postgres.schema import SchemaError

_FILE: Final = Path(__file__).with_name("grants.sql")

_SELECT_ROLE: Final = """
    SELECT pg_has_role(role.oid, schema_version.relowner, 'MEMBER') AS is_owner, current_schema() AS schema
    FROM pg_roles AS role, pg_class AS schema_version
    WHERE role.rolname = $1 AND schema_version.oid = 'schema_version'::regclass
"""


async def grant_rights(connection: Connection, role: str) -> None:
    """Give ``role`` the service's rights and no others, in its caller's transaction.

    Raises:
        SchemaError: there is no such role, or it has the owner's rights.
    """
    row = await connection.fetchrow(_SELECT_ROLE, role)
    if row is None:
        raise SchemaError(
            f"there is no role {role}: make it by CREATE ROLE {_quoted(role)} LOGIN PASSWORD '…', then come again"
        )
    if row["is_owner"]:
        raise SchemaError(
            f"the role {role} has the rights of the tables' owner: name another, which the service connects as"
        )
    text = _FILE.read_text()
    await connection.execute(
        text.replace(':"role"', _quoted(role)).replace(':"schema"', _quoted(row["schema"]))
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
