"""The tables organization and project."""

from typing import Final

import asyncpg

from service.domain.errors import TakenError
from service.domain.model import Organization, Project
from service.postgres.database import Connection

_GREATEST_ID: Final = 2**63 - 1
"""The largest bigint; a greater number in a path names nothing."""

_ORGANIZATION_COLUMNS: Final = """
    organization.id AS organization_id, organization.slug AS organization_slug,
    organization.name AS organization_name, organization.ingest_url,
    organization.created_at AS organization_created_at
"""

_SELECT_ORGANIZATION: Final = f"""
    SELECT {_ORGANIZATION_COLUMNS} FROM organization WHERE organization.id = $1 OR organization.slug = $2
"""  # noqa: S608 -- the columns are the constant above


async def select_organization(connection: Connection, id_or_slug: str) -> Organization | None:
    """The organization that a part of a path names; digits alone are an id, never a slug."""
    row = await connection.fetchrow(_SELECT_ORGANIZATION, *_id_and_slug(id_or_slug))
    return None if row is None else _organization(row)


_SELECT_PROJECT: Final = f"""
    SELECT project.id, project.slug, project.name, project.default_browser_sdk_version, project.created_at,
           {_ORGANIZATION_COLUMNS}
    FROM project
    JOIN organization ON organization.id = project.organization_id
    WHERE (organization.id = $1 OR organization.slug = $2) AND (project.id = $3 OR project.slug = $4)
"""  # noqa: S608 -- the columns are the constant above


async def select_project(connection: Connection, *, organization: str, project: str) -> Project | None:
    """The project that two parts of a path name, each by id or slug."""
    parts = (*_id_and_slug(organization), *_id_and_slug(project))
    row = await connection.fetchrow(_SELECT_PROJECT, *parts)
    if row is None:
        return None
    return Project(
        id=row["id"],
        slug=row["slug"],
        name=row["name"],
        default_browser_sdk_version=row["default_browser_sdk_version"],
        created_at=row["created_at"],
        organization=_organization(row),
    )


_INSERT_ORGANIZATION: Final = f"""
    INSERT INTO organization (slug, name, ingest_url) VALUES ($1, $2, $3)
    ON CONFLICT (slug) DO NOTHING
    RETURNING {_ORGANIZATION_COLUMNS}
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
    return _organization(row)


_INSERT_PROJECT: Final = """
    INSERT INTO project (organization_id, slug, name) VALUES ($1, $2, $3)
    ON CONFLICT (organization_id, slug) DO NOTHING
    RETURNING id, slug, name, default_browser_sdk_version, created_at
"""


async def insert_project(
    connection: Connection, *, organization: Organization, slug: str, name: str
) -> Project:
    """A new project.

    Raises:
        TakenError: the slug is in use in this organization.
    """
    row = await connection.fetchrow(_INSERT_PROJECT, organization.id, slug, name)
    if row is None:
        raise TakenError("slug")
    return Project(**dict(row.items()), organization=organization)


def _id_and_slug(part: str) -> tuple[int | None, str | None]:
    if not (part.isascii() and part.isdigit()):
        return None, part
    number = int(part) if len(part) < len(str(_GREATEST_ID)) + 1 else _GREATEST_ID + 1
    return (number if number <= _GREATEST_ID else None), None


def _organization(row: asyncpg.Record) -> Organization:
    return Organization(
        id=row["organization_id"],
        slug=row["organization_slug"],
        name=row["organization_name"],
        ingest_url=row["ingest_url"],
        created_at=row["organization_created_at"],
    )
