"""The table organization."""

from typing import Final

import asyncpg

from service.domain.errors import TakenError
from service.domain.model import MAX_BIGINT, NewOrganization, Organization
from service.postgres.database import Connection

ORGANIZATION_COLUMNS: Final = """
    organization.id AS organization_id, organization.slug AS organization_slug,
    organization.name AS organization_name, organization.ingest_url,
    organization.created_at AS organization_created_at
"""
"""The columns that `organization_from_row` reads."""

_SELECT_ORGANIZATION: Final = f"""
    SELECT {ORGANIZATION_COLUMNS} FROM organization WHERE organization.id = $1 OR organization.slug = $2
"""


async def select_organization(connection: Connection, id_or_slug: str) -> Organization | None:
    """Return the organization with this id or slug; None if there is none."""
    row = await connection.fetchrow(_SELECT_ORGANIZATION, *id_and_slug(id_or_slug))
    return None if row is None else organization_from_row(row)


_SELECT_ORGANIZATIONS: Final = f"""
    SELECT {ORGANIZATION_COLUMNS}
    FROM organization
    WHERE $1::bigint IS NULL OR organization.id = $1
    ORDER BY organization.slug
    OFFSET $2 LIMIT $3
"""


async def select_organizations(
    connection: Connection, organization_id: int | None, *, skip: int, limit: int
) -> list[Organization]:
    """Return organizations in the order of slugs; ``organization_id`` selects one, None selects all."""
    rows = await connection.fetch(_SELECT_ORGANIZATIONS, organization_id, skip, limit)
    return [organization_from_row(row) for row in rows]


_INSERT_ORGANIZATION: Final = f"""
    INSERT INTO organization (slug, name, ingest_url) VALUES ($1, $2, $3)
    ON CONFLICT (slug) DO NOTHING
    RETURNING {ORGANIZATION_COLUMNS}
"""


async def insert_organization(connection: Connection, new: NewOrganization) -> Organization:
    """Insert an organization.

    Raises:
        TakenError: The slug is in use.
    """
    row = await connection.fetchrow(_INSERT_ORGANIZATION, new.slug, new.name, new.ingest_url)
    if row is None:
        raise TakenError("slug")
    return organization_from_row(row)


_LOCK_ORGANIZATION: Final = f"""
    SELECT {ORGANIZATION_COLUMNS} FROM organization WHERE organization.id = $1 FOR NO KEY UPDATE
"""


async def lock_organization(connection: Connection, organization_id: int) -> Organization:
    """Lock an organization until the transaction ends; return its current state."""
    row = await connection.fetchrow(_LOCK_ORGANIZATION, organization_id)
    assert row is not None, "organizations are never deleted"
    return organization_from_row(row)


_UPDATE_ORGANIZATION: Final = "UPDATE organization SET name = $2, ingest_url = $3 WHERE id = $1"


async def update_organization(connection: Connection, organization: Organization) -> None:
    """Write the name and the ingest URL of a locked organization."""
    await connection.execute(_UPDATE_ORGANIZATION, organization.id, organization.name, organization.ingest_url)


def id_and_slug(id_or_slug: str) -> tuple[int | None, str | None]:
    """Parse an id or a slug: digits alone are an id, which is None if it is out of range."""
    if not (id_or_slug.isascii() and id_or_slug.isdigit()):
        return None, id_or_slug
    number = int(id_or_slug) if len(id_or_slug) < len(str(MAX_BIGINT)) + 1 else MAX_BIGINT + 1
    return (number if number <= MAX_BIGINT else None), None


def organization_from_row(row: asyncpg.Record) -> Organization:
    """Return the organization of a row that has `ORGANIZATION_COLUMNS`."""
    return Organization(
        id=row["organization_id"],
        slug=row["organization_slug"],
        name=row["organization_name"],
        ingest_url=row["ingest_url"],
        created_at=row["organization_created_at"],
    )
