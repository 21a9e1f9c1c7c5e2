"""Projects: making, finding, changing and deleting them; their keys come and go with them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from service.concurrency.ttl_cache import TtlCache
from service.domain.audit import Action
from service.domain.errors import GoneError, MovedError, NotFoundError, TakenError
from service.domain.events import OutboxRow
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.domain.model import (
    DEFAULT_KEY_NAME,
    NewProjectKey,
    Organization,
    Origin,
    Project,
    ProjectChange,
)
from service.domain.pagination import Page
from service.postgres.audit import insert_audit_entry
from service.postgres.database import Connection, Database
from service.postgres.idempotency import insert_made
from service.postgres.key_writes import insert_keys
from service.postgres.projects import (
    insert_project,
    lock_project,
    select_project,
    select_projects,
    select_redirect,
    update_project,
)
from service.usecases.bulk_changes import BulkChanges
from service.usecases.create_key import CreateKey
from service.usecases.idempotency import Idempotency
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known

_KEPT_SECONDS: Final = 5.0
"""How long a project that was found stays good unasked."""

_KEPT_MOST: Final = 10_000


class Projects:
    """Makes, finds, changes and deletes projects.

    ``committed`` is told of every event that has committed; ``scheduled`` is called when there may be work for a
    batch job.
    """

    def __init__(
        self,
        database: Database,
        keys: CreateKey,
        batches: BulkChanges,
        idempotency: Idempotency,
        *,
        committed: Callable[[Sequence[OutboxRow]], None],
        scheduled: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._keys = keys
        self._batches = batches
        self._idempotency = idempotency
        self._committed = committed
        self._scheduled = scheduled
        self._clock = clock
        self._recent = TtlCache[tuple[str, str], Project](seconds=_KEPT_SECONDS, most=_KEPT_MOST)

    def known(self, organization: str, project: str) -> Project | None:
        """The project that two parts of a path name, if it was found lately; None is to be asked of `get`."""
        return self._recent.get((organization, project))

    async def get(self, organization: str, project: str) -> Project:
        """The project that two parts of a path name, each by id or slug.

        Raises:
            NotFoundError: there is none.
            MovedError: it is called otherwise now.
            UnavailableError: the database cannot be reached.
        """
        found = self.known(organization, project)
        if found is None:
            found = await self._find(organization, project)
            self._recent.put((organization, project), found)
        return found

    async def _find(self, organization: str, project: str) -> Project:
        async with self._database.connection() as connection:
            found = await select_project(connection, organization=organization, project=project)
            if found is not None:
                return found
            moved = await select_redirect(connection, organization=organization, slug=project)
        if moved is not None:
            raise MovedError(moved)
        raise NotFoundError(f"project {project} of {organization}")

    async def page(self, organization: Organization, page: Page) -> list[Project]:
        """Projects of ``organization``, newest first, and one more than the page has if there is one.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            return await select_projects(connection, organization_id=organization.id, page=page)

    async def create(
        self,
        organization: Organization,
        *,
        slug: str,
        name: str,
        default_key: bool,
        origin: Origin,
        once: IdempotencyKey | None = None,
    ) -> tuple[Project, bool]:
        """A new project, and whether an earlier request with the same idempotency key has made it.

        With ``default_key`` also its first key and the event of that, in one transaction.

        Raises:
            TakenError: the slug is in use in this organization.
            KeyInUseError: a request with the key ``once`` is under way.
            KeyReusedError: the key ``once`` belongs to another request.
            GoneError: what the first request with the key ``once`` made is deleted.
            UnavailableError: the database cannot be reached.
        """
        write = WriteAttempt(origin, self._clock())

        async def attempt() -> Project:
            rows: Sequence[OutboxRow | None] = []
            async with self._database.transaction() as connection:
                try:
                    new = await insert_project(connection, organization=organization, slug=slug, name=name)
                except TakenError:
                    return await _made_before(connection, organization, slug, write)
                await _record(connection, new, "project.create", {"name": name}, write)
                if default_key:
                    first = self._keys.prepare(NewProjectKey(name=DEFAULT_KEY_NAME), new, origin)
                    rows = await insert_keys(connection, [first])
                if once is not None:
                    await insert_made(connection, once, target_id=new.id, event_id=None)
            self._committed([row for row in rows if row is not None])
            return new

        made = await self._idempotency.once(once, lambda: retry_until_known(attempt, write))
        if isinstance(made, StoredResult):
            return await self._again(organization, made.target_id), True
        return made, False

    async def _again(self, organization: Organization, project_id: int) -> Project:
        try:
            return await self._find(str(organization.id), str(project_id))
        except NotFoundError:
            raise GoneError from None

    async def update(self, project: Project, change: ProjectChange, origin: Origin) -> Project:
        """A project, changed; its former slug leads to it from now on.

        Raises:
            NotFoundError: it is gone.
            TakenError: the slug is in use in this organization.
            UnavailableError: the database cannot be reached.
        """
        write = WriteAttempt(origin, self._clock())

        async def attempt() -> Project:
            async with self._database.transaction() as connection:
                before = await lock_project(connection, project)
                if await write.was_committed(connection, project.organization.id):
                    return before or change.applied_to(project)  # and deleted since
                if before is None:
                    raise NotFoundError(f"project {project.id}")
                after = change.applied_to(before)
                await update_project(connection, before, slug=after.slug, name=after.name)
                await _record(connection, before, "project.edit", _difference(before, after), write)
            return after

        changed = await retry_until_known(attempt, write)
        self._recent.clear()
        return changed

    async def delete(self, project: Project, origin: Origin) -> None:
        """Delete a project with its keys, each with its event: at once, or a batch at a time if they are many.

        Raises:
            NotFoundError: it is gone.
            UnavailableError: the database cannot be reached.
        """
        write = WriteAttempt(origin, self._clock())
        await retry_until_known(lambda: self._delete(project, write), write)
        self._recent.clear()
        self._scheduled()

    async def _delete(self, project: Project, write: WriteAttempt) -> None:
        organization_id = project.organization.id
        async with self._database.transaction() as connection:
            locked = await lock_project(connection, project)
            if await write.was_committed(connection, organization_id):
                return
            if locked is None:
                raise NotFoundError(f"project {project.id}")
            await _record(connection, locked, "project.remove", {"name": locked.name}, write)
            rows = await self._batches.delete_project(connection, locked, write.origin)
        self._committed(rows)


async def _made_before(
    connection: Connection, organization: Organization, slug: str, write: WriteAttempt
) -> Project:
    found = await select_project(connection, organization=str(organization.id), project=slug)
    if found is None or not await write.was_committed(connection, organization.id):
        raise TakenError("slug")
    return found


async def _record(
    connection: Connection, project: Project, action: Action, data: dict[str, Any], write: WriteAttempt
) -> None:
    await insert_audit_entry(
        connection,
        organization_id=project.organization.id,
        project_id=project.id,
        action=action,
        target=project.slug,
        data=data,
        origin=write.origin,
        change_id=write.id,
    )


def _difference(before: Project, after: Project) -> dict[str, Any]:
    pairs = {"name": (before.name, after.name), "slug": (before.slug, after.slug)}
    return {name: {"from": old, "to": new} for name, (old, new) in pairs.items() if old != new}
