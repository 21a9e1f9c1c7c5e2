"""Organizations and projects; a new project gets its first key in the same transaction."""

from collections.abc import Callable, Sequence
from typing import Final

from service.domain.errors import NotFoundError
from service.domain.events import OutboxRow
from service.domain.model import DEFAULT_KEY_NAME, NewProjectKey, Organization, Origin, Project
from service.postgres.audit import insert_audit_entry
from service.postgres.database import Database
from service.postgres.issued import insert_issued
from service.postgres.projects import (
    insert_organization,
    insert_project,
    select_organization,
    select_project,
)
from service.usecases.issue_keys import IssueKeys
from service.usecases.recent import Recent

_KEPT_SECONDS: Final = 5.0
"""How long a project that was found stays good unasked."""

_KEPT_MOST: Final = 10_000


class Provisioning:
    """Makes and finds what keys belong to; ``committed`` is told of every event that has committed."""

    def __init__(
        self, database: Database, keys: IssueKeys, *, committed: Callable[[Sequence[OutboxRow]], None]
    ) -> None:
        self._database = database
        self._keys = keys
        self._committed = committed
        self._recent = Recent[tuple[str, str], Project](seconds=_KEPT_SECONDS, most=_KEPT_MOST)

    async def organization(self, id_or_slug: str) -> Organization:
        """The organization that a part of a path names.

        Raises:
            NotFoundError: there is none.
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            found = await select_organization(connection, id_or_slug)
        if found is None:
            raise NotFoundError(f"organization {id_or_slug}")
        return found

    async def project(self, organization: str, project: str) -> Project:
        """The project that two parts of a path name, each by id or slug.

        Raises:
            NotFoundError: there is none.
            UnavailableError: the database cannot be reached.
        """
        at = (organization, project)
        found = self._recent.get(at)
        if found is None:
            async with self._database.connection() as connection:
                found = await select_project(connection, organization=organization, project=project)
            if found is None:
                raise NotFoundError(f"project {project} of {organization}")
            self._recent.put(at, found)
        return found

    async def create_organization(
        self, *, slug: str, name: str, origin: Origin, ingest_url: str | None = None
    ) -> Organization:
        """A new organization.

        Raises:
            TakenError: the slug is in use.
            UnavailableError: the database cannot be reached.
        """
        async with self._database.transaction() as connection:
            organization = await insert_organization(connection, slug=slug, name=name, ingest_url=ingest_url)
            await insert_audit_entry(
                connection,
                organization_id=organization.id,
                project_id=None,
                action="organization.create",
                target=slug,
                data={"name": name},
                origin=origin,
            )
        return organization

    async def create_project(
        self, organization: Organization, *, slug: str, name: str, default_key: bool, origin: Origin
    ) -> Project:
        """A new project; with ``default_key`` also its first key and the event of that, in one transaction.

        Raises:
            TakenError: the slug is in use in this organization.
            UnavailableError: the database cannot be reached.
        """
        rows: Sequence[OutboxRow | None] = []
        async with self._database.transaction() as connection:
            project = await insert_project(connection, organization=organization, slug=slug, name=name)
            await insert_audit_entry(
                connection,
                organization_id=organization.id,
                project_id=project.id,
                action="project.create",
                target=slug,
                data={"name": name},
                origin=origin,
            )
            if default_key:
                first = self._keys.prepare(NewProjectKey(name=DEFAULT_KEY_NAME), project, origin)
                rows = await insert_issued(connection, [first])
        self._committed([row for row in rows if row is not None])
        return project
