"""The table organization."""

from typing import Final

import asyncpg

from service.domain.errors import TakenError
from service.domain.model import Organization
from service.postgres.database import Connection

_GREATEST_ID: Final = 2**63 - 1
"""The largest bigint; a greater number in a path names nothing."""

ORGANIZATION_COLUMNS: Final = """
    organization.id AS organization_id, organization.slug AS organization_slug,
    organization.name AS organization_name, organization.ingest_url,
    organization.created_at AS organization_created_at
"""
"""What `organization_from_row` reads of the table."""

_SELECT_ORGANIZATION: Final = f"""
    SELECT {ORGANIZATION_COLUMNS} FROM organization WHERE organization.id = $1 OR organization.slug = $2
"""  # noqa: S608 -- the columns are the constant above


async def select_organization(connection: Connection, id_or_slug: str) -> Organization | None:
    """The organization that a part of a path names; digits alone are an id, never a slug."""
    row = await connection.fetchrow(_SELECT_ORGANIZATION, *id_and_slug(id_or_slug))
    return None if row is None else organization_from_row(row)


_INSERT_ORGANIZATION: Final = f"""
    INSERT INTO organization (slug, name, ingest_url) VALUES ($1, $2, $3)
    ON CONFLICT (slug) DO NOTHING
    RETURNING {ORGANIZATION_COLUMNS}
"""  # noqa: S608 -- the columns are the constant above


async def insert_organization(
    connection: Connection, *, slug: str, name: str, ingest_url: str | None = None
) -> Organization:
    """A new organization.

    Raises:
        TakenError: the slug is in use.
    """
    row = await connection.fetchrow(_INSERT_ORGANIZATION, slug, name, ingest_url)
    if row is None:
        raise TakenError("slug")
    return organization_from_row(row)


_LOCK_ORGANIZATION: Final = f"""
    SELECT {ORGANIZATION_COLUMNS} FROM organization WHERE organization.id = $1 FOR NO KEY UPDATE
"""  # noqa: S608 -- the columns are the constant above


async def lock_organization(connection: Connection, organization_id: int) -> Organization:
    """An organization as it is now, which nobody else can change until this ends."""
    row = await connection.fetchrow(_LOCK_ORGANIZATION, organization_id)
    assert row is not None, "organizations are never deleted"
    return organization_from_row(row)


_UPDATE_ORGANIZATION: Final = "UPDATE organization SET name = $2, ingest_url = $3 WHERE id = $1"


async def update_organization(connection: Connection, organization: Organization) -> None:
    """Write a locked organization's name and ingest URL."""
    await connection.execute(
        _UPDATE_ORGANIZATION, organization.id, organization.name, organization.ingest_url
    )


def id_and_slug(part: str) -> tuple[int | None, str | None]:
    """What a part of a path names: digits alone are an id, None where it is out of range, everything else a slug."""
    if not (part.isascii() and part.isdigit()):
        return None, part
    number = int(part) if len(part) < len(str(_GREATEST_ID)) + 1 else _GREATEST_ID + 1
    return (number if number <= _GREATEST_ID else None), None


def organization_from_row(row: asyncpg.Record) -> Organization:
    """The organization in a row that has `ORGANIZATION_COLUMNS`."""
    return Organization(
        id=row["organization_id"],
        slug=row["organization_slug"],
        name=row["organization_name"],
        ingest_url=row["ingest_url"],
        created_at=row["organization_created_at"],
    )
