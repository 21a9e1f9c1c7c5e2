"""Creates, lists and cancels replays, which republish keys and the tombstones of deleted keys."""

from service.domain.errors import NotFoundError
from service.domain.jobs import JobState
from service.domain.model import Origin
from service.postgres.batch_jobs import (
    JobKind,
    NewJob,
    cancel_replay,
    insert_job,
    select_job,
    select_unfinished,
)
from service.postgres.database import Connection, Database
from service.postgres.keys import count_keys
from service.postgres.shards import count_publishers
from service.usecases.tenants import find_organization, find_project


class Replays:
    """Creates, lists and cancels replays; `Jobs` executes them.

    Every method raises `UnavailableError` if the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, origin: Origin, *, organization: str | None, project: str | None, rate: int | None) -> int:
        """Create a replay of a project, of an organization, or, if both are None, of all keys; return its id.

        Args:
            origin: The origin of the command.
            organization: The id or slug of an organization.
            project: The id or slug of a project of ``organization``; ignored without ``organization``.
            rate: Maximum number of keys per second; with None only the length of the outbox limits the replay.

        Raises:
            NotFoundError: There is no such organization or project.
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
        """Return the state of a job.

        Raises:
            NotFoundError: There is no such job.
        """
        async with self._database.connection() as connection:
            found = await select_job(connection, job_id)
        if found is None:
            raise NotFoundError(f"there is no job {job_id}")
        return found

    async def unfinished(self, *, limit: int) -> list[JobState]:
        """Return the unfinished jobs of all kinds, oldest first, at most ``limit``."""
        async with self._database.connection() as connection:
            return await select_unfinished(connection, limit=limit)

    async def count_publishers(self) -> int:
        """Return the number of running publishers."""
        async with self._database.connection() as connection:
            return await count_publishers(connection)

    async def cancel(self, job_id: int) -> None:
        """Cancel a replay; events already published stay published.

        Raises:
            NotFoundError: There is no unfinished replay with this id.
        """
        async with self._database.connection() as connection:
            if not await cancel_replay(connection, job_id):
                raise NotFoundError(f"there is no unfinished replay {job_id}: see `projectkeys events replay --list`")


async def _ids(
    connection: Connection, organization: str | None, project: str | None
) -> tuple[int | None, int | None]:
    if organization is None:
        return None, None
    if project is None:
        return (await find_organization(connection, organization)).id, None
    found = await find_project(connection, organization, project)
    return found.organization.id, found.id
