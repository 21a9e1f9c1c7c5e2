"""Replays: the state of keys, and the tombstones of deleted ones, told again by whichever process is free."""

from service.domain.errors import NotFoundError
from service.domain.model import Origin
from service.postgres.batch_jobs import JobKind, NewJob, insert_job
from service.postgres.database import Connection, Database
from service.postgres.job_states import (
    JobState,
    cancel_replay,
    count_keys,
    select_job,
    select_unfinished,
)
from service.postgres.organizations import select_organization
from service.postgres.projects import select_project
from service.postgres.shards import count_publishers


class Replays:
    """Asks for replays, looks at them and ends them; `Jobs` does them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(
        self, origin: Origin, *, organization: str | None, project: str | None, rate: int | None
    ) -> int:
        """Ask for a replay of a project, of an organization, or of all for None; returns its id.

        Args:
            origin: whoever asks.
            organization: an id or slug.
            project: an id or slug of a project of ``organization``.
            rate: keys a second; None is as fast as live events allow.

        Raises:
            NotFoundError: there is no such organization or project.
            UnavailableError: the database cannot be reached.
        """
        async with self._database.transaction() as connection:
            organization_id, project_id = await _ids(connection, organization, project)
            total = await count_keys(connection, organization_id=organization_id, project_id=project_id)
            job = NewJob(
                kind=JobKind.REPLAY,
                origin=origin,
                organization_id=organization_id,
                project_id=project_id,
                rate=rate,
                total=total,
            )
            return await insert_job(connection, job)

    async def state(self, job_id: int) -> JobState:
        """How far a job has come.

        Raises:
            NotFoundError: there is none.
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            found = await select_job(connection, job_id)
        if found is None:
            raise NotFoundError(f"there is no job {job_id}")
        return found

    async def unfinished(self, *, limit: int) -> list[JobState]:
        """All jobs that are not done, replays and others, oldest first, at most ``limit``.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            return await select_unfinished(connection, limit=limit)

    async def publishers(self) -> int:
        """How many processes publish at the moment.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            return await count_publishers(connection)

    async def cancel(self, job_id: int) -> None:
        """End a replay; what it has told already stays told.

        Raises:
            NotFoundError: no replay of this id is under way.
            UnavailableError: the database cannot be reached.
        """
        async with self._database.connection() as connection:
            if not await cancel_replay(connection, job_id):
                raise NotFoundError(
                    f"no replay {job_id} is under way: look at `projectkeys events replay --list`"
                )


async def _ids(
    connection: Connection, organization: str | None, project: str | None
) -> tuple[int | None, int | None]:
    if organization is None:
        return None, None
    if project is None:
        found = await select_organization(connection, organization)
        if found is None:
            raise NotFoundError(f"there is no organization {organization}")
        return found.id, None
    of_it = await select_project(connection, organization=organization, project=project)
    if of_it is None:
        raise NotFoundError(f"there is no project {project} in {organization}")
    return of_it.organization.id, of_it.id
