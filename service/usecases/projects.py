"""Creates, finds, updates and deletes projects, with their keys."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Final

from service.concurrency.ttl_cache import TtlCache
from service.domain.audit import changed_values
from service.domain.errors import GoneError, MovedError, NotFoundError, TakenError
from service.domain.events import OutboxRow
from service.domain.idempotency import IdempotencyKey
from service.domain.model import (
    DEFAULT_KEY_NAME,
    NewProject,
    NewProjectKey,
    Organization,
    Origin,
    Project,
    ProjectChange,
    utc_now,
)
from service.domain.project_search import ProjectSearch
from service.postgres.database import Connection
from service.postgres.idempotency import insert_result
from service.postgres.key_writes import PreparedWrite, insert_keys
from service.postgres.projects import (
    insert_project,
    lock_project,
    select_project,
    select_projects,
    select_projects_of_all,
    select_projects_of_keys,
    select_redirect,
    update_project,
)
from service.usecases.bulk_changes import BulkChanges
from service.usecases.create_key import prepare_key
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known
from service.usecases.writes import WriteContext

_MAX_PROJECTS: Final = 10_000
"""Projects in a list of all."""

_LIST_SIZE: Final = 1_000
"""Projects that one step of the event loop decodes, which takes 10 ms."""

_CACHE_SECONDS: Final = 5.0
"""Seconds for which a project is cached: a replica can use a former state for that long."""

_CACHE_SIZE: Final = 10_000


class Projects:
    """Creates, finds, updates and deletes projects.

    ``on_job_inserted`` is called after the insertion of a job, and after deletions without a job. Every method raises
    `UnavailableError` if the database is unavailable.
    """

    def __init__(self, context: WriteContext, *, on_job_inserted: Callable[[], None] = lambda: None) -> None:
        self._context = context
        self._database = context.database
        self._bulk_changes = BulkChanges(context.events)
        self._on_job_inserted = on_job_inserted
        self._finding_all = asyncio.Lock()  # a list of all has megabytes
        self.cache = TtlCache[tuple[str, str], Project](seconds=_CACHE_SECONDS, max_size=_CACHE_SIZE)
        """Projects by their organization and themselves, each an id or a slug; if a project is absent, call `get`."""

    async def get(self, organization: str, project: str) -> Project:
        """Return the project with these ids or slugs.

        Raises:
            NotFoundError: There is no such project.
            MovedError: The project has another slug now.
        """
        found = self.cache.get((organization, project))
        if found is None:
            found = await self._select(organization, project)
            self.cache.put((organization, project), found)
        return found

    async def _select(self, organization: str, project: str) -> Project:
        async with self._database.connection() as connection:
            found = await select_project(connection, organization=organization, project=project)
            if found is not None:
                return found
            new_slug = await select_redirect(connection, organization=organization, slug=project)
        if new_slug is not None:
            raise MovedError(new_slug)
        raise NotFoundError(f"project {project} of {organization}")

    async def find(
        self, organization_id: int | None, search: ProjectSearch, *, skip: int, limit: int
    ) -> list[Project]:
        """Return at most ``limit`` projects after the first ``skip``, in the order of their slugs.

        None as the organization means all of them, newest first.
        """
        async with self._database.connection() as connection:
            if organization_id is None:
                return await select_projects_of_all(connection, search, skip=skip, limit=limit)
            search = await _with_ids(connection, organization_id, search)
            return await select_projects(
                connection, organization_id=organization_id, search=search, skip=skip, limit=limit
            )

    async def find_all(
        self, organization: Organization, search: ProjectSearch
    ) -> AsyncGenerator[list[Project], None]:
        """Yield all projects, at most `_MAX_PROJECTS`, in lists in the order of their slugs; one call at a time."""
        after = ""
        async with self._finding_all:
            for _ in range(_MAX_PROJECTS // _LIST_SIZE):
                async with self._database.connection() as connection:
                    search = await _with_ids(connection, organization.id, search)
                    projects = await select_projects(
                        connection,
                        organization_id=organization.id,
                        search=search,
                        limit=_LIST_SIZE,
                        after=after,
                    )
                if projects:
                    yield projects
                    after = projects[-1].slug
                if len(projects) < _LIST_SIZE:
                    return

    async def create(
        self,
        organization: Organization,
        new: NewProject,
        origin: Origin,
        idempotency_key: IdempotencyKey | None = None,
    ) -> tuple[Project, bool]:
        """Create a project; return it, and whether an earlier request with ``idempotency_key`` created it.

        The same transaction creates its default key, if ``new`` has one, and the event of that key.

        Raises:
            TakenError: The slug is in use in this organization.
            IdempotencyKeyInUseError: A request with ``idempotency_key`` is running.
            IdempotencyKeyReusedError: ``idempotency_key`` belongs to another request.
            GoneError: The project that the first request with ``idempotency_key`` created is deleted.
        """
        async with self._context.idempotency.request(idempotency_key) as request:
            if request.stored is None:
                write = WriteAttempt(origin, utc_now())
                arguments = (organization, new, idempotency_key, write)
                return await retry_until_known(write, self._attempt_create, *arguments), False
        try:
            return await self._select(str(organization.id), str(request.stored.target_id)), True
        except NotFoundError:
            raise GoneError from None

    async def _attempt_create(
        self,
        organization: Organization,
        new: NewProject,
        idempotency_key: IdempotencyKey | None,
        write: WriteAttempt,
    ) -> Project:
        rows: Sequence[OutboxRow] = []
        async with self._database.transaction() as connection:
            try:
                created = await insert_project(connection, organization, new)
            except TakenError:
                return await _find_committed(connection, organization, new.slug, write)
            await write.record(connection, "project.create", created.slug, {"name": created.name}, created)
            if new.default_key:
                rows = await insert_keys(connection, [self._default_key(created, write)])
            if idempotency_key is not None:
                await insert_result(connection, idempotency_key, target_id=created.id)
        self._context.on_committed(rows)
        return created

    def _default_key(self, project: Project, write: WriteAttempt) -> PreparedWrite:
        new_key = NewProjectKey(name=DEFAULT_KEY_NAME)
        return prepare_key(self._context.events, new_key, project, write.origin, utc_now())

    async def update(self, project: Project, change: ProjectChange, origin: Origin) -> Project:
        """Update a project; a former slug redirects to it.

        Raises:
            NotFoundError: The project is deleted.
            TakenError: The slug is in use in this organization.
        """
        write = WriteAttempt(origin, utc_now())
        updated = await retry_until_known(write, self._attempt_update, project, change, write)
        self.cache.clear()
        return updated

    async def _attempt_update(self, project: Project, change: ProjectChange, write: WriteAttempt) -> Project:
        organization_id = project.organization.id
        async with self._database.transaction() as connection:
            before = await lock_project(connection, project)
            if await write.was_committed(connection, organization_id):
                return before or change.applied_to(project)  # None: deleted since the commit
            if before is None:
                raise NotFoundError(f"project {project.id}")
            after = change.applied_to(before)
            await update_project(connection, before, after)
            changes = changed_values(
                name=(before.name, after.name),
                slug=(before.slug, after.slug),
                platform=(before.platform, after.platform),
            )
            await write.record(connection, "project.edit", before.slug, changes, before)
        return after

    async def delete(self, project: Project, origin: Origin) -> None:
        """Delete a project and its keys, each with an event; a job deletes the keys if they are many.

        Raises:
            NotFoundError: The project is deleted already.
        """
        write = WriteAttempt(origin, utc_now())
        self._context.on_committed(await retry_until_known(write, self._attempt_delete, project, write))
        self.cache.clear()
        self._on_job_inserted()

    async def _attempt_delete(self, project: Project, write: WriteAttempt) -> Sequence[OutboxRow]:
        organization_id = project.organization.id
        async with self._database.transaction() as connection:
            locked = await lock_project(connection, project)
            if await write.was_committed(connection, organization_id):
                return []
            if locked is None:
                raise NotFoundError(f"project {project.id}")
            await write.record(connection, "project.remove", locked.slug, {"name": locked.name}, locked)
            return await self._bulk_changes.delete_project(connection, locked, write.origin)


async def _with_ids(connection: Connection, organization_id: int, search: ProjectSearch) -> ProjectSearch:
    """Return ``search`` with the ids of the projects of its public keys instead of these."""
    if search.public_keys is None:
        return search
    found = await select_projects_of_keys(connection, organization_id=organization_id, public_keys=search.public_keys)
    ids = found if search.ids is None else found.intersection(search.ids)
    return replace(search, ids=ids, public_keys=None)


async def _find_committed(
    connection: Connection, organization: Organization, slug: str, write: WriteAttempt
) -> Project:
    """Return the project if an earlier attempt committed it; otherwise raise `TakenError`."""
    project = await select_project(connection, organization=str(organization.id), project=slug)
    if project is None or not await write.was_committed(connection, organization.id):
        raise TakenError("slug")
    return project
