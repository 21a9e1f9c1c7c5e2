"""Exports organizations, projects and keys."""

from collections.abc import AsyncGenerator
from typing import Any

from service.postgres.database import Connection, Database
from service.postgres.exports import key_pages, organization_pages, project_pages
from service.postgres.full_scan import use_snapshot
from service.usecases.tenants import find_organization
from service.usecases.transfer.sentry_format import (
    ingest_url_item,
    key_item,
    organization_item,
    project_item,
)


async def export_items(
    database: Database, organization: str | None, *, with_secrets: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """Return the records of one snapshot: organizations with their ingest URLs, then projects, then keys.

    Args:
        database: The database.
        organization: The slug or the id of an organization; None means all.
        with_secrets: Whether records of keys contain their secret keys.

    Raises:
        NotFoundError: There is no such organization.
        UnavailableError: The database is unavailable.
    """
    async with database.transaction() as connection:
        await use_snapshot(connection)
        found = organization and (await find_organization(connection, organization)).id
        async for item in _items(connection, found or None, with_secrets=with_secrets):
            yield item


async def _items(
    connection: Connection, organization_id: int | None, *, with_secrets: bool
) -> AsyncGenerator[dict[str, Any], None]:
    async for organizations in organization_pages(connection, organization_id):
        for organization in organizations:
            yield organization_item(organization)
            if organization.ingest_url is not None:
                yield ingest_url_item(organization)
    async for projects in project_pages(connection, organization_id):
        for project in projects:
            yield project_item(project)
    async for projects in project_pages(connection, organization_id):
        async for keys in key_pages(connection, [project.id for project in projects]):
            for row_id, key in keys:
                yield key_item(row_id, key, with_secret=with_secrets)
