"""Creates, finds and updates organizations."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from service.domain.audit import changed_values
from service.domain.errors import TakenError
from service.domain.idempotency import IdempotencyKey
from service.domain.model import NewOrganization, Organization, OrganizationChange, Origin, utc_now
from service.postgres.batch_jobs import JobKind, NewJob, restart_or_insert_job
from service.postgres.database import Connection, Database
from service.postgres.idempotency import insert_result
from service.postgres.organizations import (
    insert_organization,
    lock_organization,
    select_organization,
    select_organizations,
    update_organization,
)
from service.usecases.idempotency import Idempotency
from service.usecases.tenants import find_organization
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known

_STALE_URL_PERIOD: Final = timedelta(seconds=30)
"""Time after a change of the ingest URL in which a create with the former URL can still commit: twice the sum of the
time for which projects are cached (5 s) and the deadline of a request (10 s)."""


class Organizations:
    """Creates, finds and updates organizations; calls ``on_job_inserted`` after it may have inserted a job.

    Every method raises `UnavailableError` if the database is unavailable.
    """

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        *,
        on_job_inserted: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._on_job_inserted = on_job_inserted

    async def get(self, id_or_slug: str) -> Organization:
        """Return the organization with this id or slug.

        Raises:
            NotFoundError: There is no such organization.
        """
        async with self._database.connection() as connection:
            return await find_organization(connection, id_or_slug)

    async def find(self, organization_id: int | None, *, skip: int, limit: int) -> list[Organization]:
        """Return the organization with this id, or all in the order of slugs if it is None.

        Raises:
            UnavailableError: The database cannot be reached.
        """
        async with self._database.connection() as connection:
            return await select_organizations(connection, organization_id, skip=skip, limit=limit)

    async def create(
        self, new: NewOrganization, origin: Origin, idempotency_key: IdempotencyKey | None = None
    ) -> tuple[Organization, bool]:
        """Create an organization; return it, and whether an earlier request with ``idempotency_key`` created it.

        Raises:
            TakenError: The slug is in use.
            IdempotencyKeyInUseError: A request with ``idempotency_key`` is running.
            IdempotencyKeyReusedError: ``idempotency_key`` belongs to another request.
        """
        async with self._idempotency.request(idempotency_key) as request:
            if request.stored is None:
                write = WriteAttempt(origin, utc_now())
                return await retry_until_known(write, self._attempt_create, new, idempotency_key, write), False
        return await self.get(str(request.stored.target_id)), True

    async def _attempt_create(
        self, new: NewOrganization, idempotency_key: IdempotencyKey | None, write: WriteAttempt
    ) -> Organization:
        async with self._database.transaction() as connection:
            try:
                created = await insert_organization(connection, new)
            except TakenError:
                return await _find_committed(connection, new.slug, write)
            await write.record(connection, "organization.create", created.slug, {"name": created.name}, created)
            if idempotency_key is not None:
                await insert_result(connection, idempotency_key, target_id=created.id)
        return created

    async def update(self, organization: Organization, change: OrganizationChange, origin: Origin) -> Organization:
        """Update an organization; after a change of the ingest URL, jobs publish a new version of each key."""
        write = WriteAttempt(origin, utc_now())
        updated = await retry_until_known(write, self._attempt_update, organization, change, write)
        self._on_job_inserted()
        return updated

    async def _attempt_update(
        self, organization: Organization, change: OrganizationChange, write: WriteAttempt
    ) -> Organization:
        async with self._database.transaction() as connection:
            before = await lock_organization(connection, organization.id)
            if await write.was_committed(connection, organization.id):
                return before
            after = change.applied_to(before)
            await update_organization(connection, after)
            changes = changed_values(name=(before.name, after.name), ingestUrl=(before.ingest_url, after.ingest_url))
            await write.record(connection, "organization.edit", after.slug, changes, after)
            if after.ingest_url != before.ingest_url:
                await _schedule_new_dsns(connection, after, write)
        return after


async def _find_committed(connection: Connection, slug: str, write: WriteAttempt) -> Organization:
    """Return the organization if an earlier attempt committed it; otherwise raise `TakenError`."""
    organization = await select_organization(connection, slug)
    if organization is None or not await write.was_committed(connection, organization.id):
        raise TakenError("slug")
    return organization


async def _schedule_new_dsns(connection: Connection, organization: Organization, write: WriteAttempt) -> None:
    """Insert or restart two jobs: one over all keys now, and one over the newest keys later.

    The second job is for keys whose creates started before their process read the change. An organization has at most
    one unfinished job of each: another change restarts both. The first job covers all keys that were committed before
    the last change, so the second job omits those created earlier than `_STALE_URL_PERIOD` before the change.
    """
    job = NewJob(kind=JobKind.DSN_CHANGE, organization_id=organization.id, origin=write.origin)
    await restart_or_insert_job(connection, job)
    later = replace(job, made_since=write.occurred_at - _STALE_URL_PERIOD, delay=_STALE_URL_PERIOD)
    await restart_or_insert_job(connection, later)
