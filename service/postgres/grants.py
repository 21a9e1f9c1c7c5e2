"""The rights of the service role, which are fewer than those of the tables' owner."""

from pathlib import Path
from typing import Final

from service.postgres.database import Connection
from service.postgres.schema import SchemaError

_FILE: Final = Path(__file__).with_name("grants.sql")

# In an empty database the role of this connection becomes the owner.
_SELECT_ROLE: Final = """
    SELECT pg_has_role(
        role.oid,
        coalesce((SELECT relowner FROM pg_class WHERE oid = to_regclass('schema_version')), current_user::regrole),
        'MEMBER'
    ) AS is_owner
    FROM pg_roles AS role
    WHERE role.rolname = $1
"""


async def check_role(connection: Connection, role: str) -> None:
    """Check that ``role`` can be the service role.

    Raises:
        SchemaError: There is no such role, or it has the owner's rights.
    """
    row = await connection.fetchrow(_SELECT_ROLE, role)
    if row is None:
        raise SchemaError(
            f"there is no role {role}: create it with CREATE ROLE {_quoted(role)} LOGIN PASSWORD '…', "
            "then run this again"
        )
    if row["is_owner"]:
        raise SchemaError(
            f"the role {role} has the rights of the tables' owner: name another role, as which the service connects"
        )


async def grant_rights(connection: Connection, role: str) -> None:
    """Grant ``role`` the rights of the service role and revoke all others, in the caller's transaction."""
    schema = await connection.fetchval("SELECT current_schema()")
    text = _FILE.read_text().replace(':"role"', _quoted(role)).replace(':"schema"', _quoted(schema))
    await connection.execute(text)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
