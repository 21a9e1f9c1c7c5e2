"""Organizations: making, finding and changing them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service.domain.audit import Action
from service.domain.errors import NotFoundError, TakenError
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.domain.model import Organization, OrganizationChange, Origin
from service.postgres.audit import insert_audit_entry
from service.postgres.batch_jobs import JobKind, NewJob, restart_or_insert_job
from service.postgres.database import Connection, Database
from service.postgres.idempotency import insert_made
from service.postgres.organizations import (
    insert_organization,
    lock_organization,
    select_organization,
    update_organization,
)
from service.usecases.idempotency import Idempotency
from service.usecases.uncertain_writes import WriteAttempt, retry_until_known

_STRAGGLERS: Final = timedelta(seconds=30)
"""For so long after a change of the ingest URL a key may still come whose creation began with the former one: the
time that a project is remembered (5 s), a request's (10 s), and as much again."""


class Organizations:
    """Makes, finds and changes organizations.

    ``scheduled`` is called when there may be work for a batch job; ``clock`` tells the time.
    """

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        *,
        scheduled: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._scheduled = scheduled
        self._clock = clock

    async def get(self, id_or_slug: str) -> Organization:
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

    async def create(
        self,
        *,
        slug: str,
        name: str,
        origin: Origin,
        ingest_url: str | None = None,
        once: IdempotencyKey | None = None,
    ) -> tuple[Organization, bool]:
        """A new organization, and whether an earlier request with the same idempotency key has made it.

        Raises:
            TakenError: the slug is in use.
            KeyInUseError: a request with the key ``once`` is under way.
            KeyReusedError: the key ``once`` belongs to another request.
            UnavailableError: the database cannot be reached.
        """
        write = WriteAttempt(origin, self._clock())

        async def attempt() -> Organization:
            async with self._database.transaction() as connection:
                try:
                    new = await insert_organization(connection, slug=slug, name=name, ingest_url=ingest_url)
                except TakenError:
                    return await _made_before(connection, slug, write)
                await _record(connection, new, "organization.create", {"name": name}, write)
                if once is not None:
                    await insert_made(connection, once, target_id=new.id, event_id=None)
            return new

        made = await self._idempotency.once(once, lambda: retry_until_known(attempt, write))
        if isinstance(made, StoredResult):
            return await self.get(str(made.target_id)), True
        return made, False

    async def update(
        self, organization: Organization, change: OrganizationChange, origin: Origin
    ) -> Organization:
        """An organization, changed; with another ingest URL every key of it gets a new version, a batch at a time.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        write = WriteAttempt(origin, self._clock())

        async def attempt() -> Organization:
            async with self._database.transaction() as connection:
                before = await lock_organization(connection, organization.id)
                if await write.was_committed(connection, organization.id):
                    return before
                after = change.applied_to(before)
                await update_organization(connection, after)
                await _record(connection, after, "organization.edit", _difference(before, after), write)
                if after.ingest_url != before.ingest_url:
                    await _schedule_new_dsns(connection, after, write)
            return after

        changed = await retry_until_known(attempt, write)
        self._scheduled()
        return changed


async def _made_before(connection: Connection, slug: str, write: WriteAttempt) -> Organization:
    found = await select_organization(connection, slug)
    if found is None or not await write.was_committed(connection, found.id):
        raise TakenError("slug")
    return found


async def _schedule_new_dsns(connection: Connection, organization: Organization, write: WriteAttempt) -> None:
    """Schedule a pass over all keys now, and a pass over the newest keys later.

    The second pass is for keys whose creation began in a process that had not read the change. At most one of each
    is open for an organization: another change restarts both. The restarted first pass has all keys that were
    committed before the last change, so the second one needs none that are older than `_STRAGGLERS` before it.
    """
    job = NewJob(kind=JobKind.DSN_CHANGE, organization_id=organization.id, origin=write.origin)
    await restart_or_insert_job(connection, job)
    later = replace(job, made_since=write.moment - _STRAGGLERS, delay=_STRAGGLERS)
    await restart_or_insert_job(connection, later)


async def _record(
    connection: Connection,
    organization: Organization,
    action: Action,
    data: dict[str, Any],
    write: WriteAttempt,
) -> None:
    await insert_audit_entry(
        connection,
        organization_id=organization.id,
        project_id=None,
        action=action,
        target=organization.slug,
        data=data,
        origin=write.origin,
        change_id=write.id,
    )


def _difference(before: Organization, after: Organization) -> dict[str, Any]:
    pairs = {"name": (before.name, after.name), "ingestUrl": (before.ingest_url, after.ingest_url)}
    return {name: {"from": old, "to": new} for name, (old, new) in pairs.items() if old != new}
