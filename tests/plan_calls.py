"""Calls of all functions of ``service/postgres`` that requests and background tasks use, for the rows of `plan_data`.

Each function calls those of one subject in a transaction that is rolled back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import Any, Final, TypeAlias
from uuid import UUID

import orjson

from service.domain.audit import AuditRecord, AuditSearch
from service.domain.dsn import Ingest
from service.domain.events import EventFactory, EventType
from service.domain.idempotency import IdempotencyKey
from service.domain.model import MAX_BIGINT, NewOrganization, NewProject, next_version
from service.domain.pagination import Page
from service.domain.project_search import ProjectSearch
from service.domain.usage import DAY, HOUR, UsageCounter
from service.postgres import (
    audit,
    batch_jobs,
    deleted_keys,
    full_scan,
    idempotency,
    key_changes,
    key_lifecycle,
    key_locks,
    key_pages,
    key_writes,
    keys,
    organizations,
    outbox,
    outbox_admin,
    projects,
    shards,
    tokens,
    transfers,
    usage,
)
from service.postgres.batch_jobs import Job, JobKind, NewJob
from service.postgres.database import Connection
from service.postgres.deleted_keys import DeletedVersion
from service.postgres.key_locks import KeyRange, LockedKey
from service.postgres.key_pages import KeyPage
from service.postgres.key_writes import PreparedWrite
from tests import plan_data
from tests.conftest import ORIGIN
from tests.console_plan_calls import use_console
from tests.outbox import OneConnection, outbox_of
from tests.plan_data import FIRST_KEY, LAST_KEY, MIDDLE_KEY, ORGANIZATION, PROJECT, SMALL_PROJECT, key_of

Calls: TypeAlias = Callable[[Any], Awaitable[None]]

_ROW_IDS = (FIRST_KEY, MIDDLE_KEY, LAST_KEY)
_LOCKED = [LockedKey(row_id, key_of(row_id), PROJECT) for row_id in _ROW_IDS]
_EVENTS = [
    EventFactory(Ingest("https://sentry.io"), to_json=orjson.dumps).create(
        EventType.UPDATED, next_version(locked.key), PROJECT, ORIGIN
    )
    for locked in _LOCKED
]
_EVENT_ID = UUID(int=1)
_PUBLIC_KEYS = [locked.key.public_key for locked in _LOCKED]
_DELETED = [DeletedVersion(md5(b"deleted%d" % number, usedforsecurity=False).hexdigest(), 2) for number in (1, 9)]
_DELETED_KEYS = [deleted.public_key for deleted in _DELETED]
_IDEMPOTENCY_KEY = IdempotencyKey(1, "i-1", b"0" * 32)
_NEW_JOB = NewJob(kind=JobKind.DSN_CHANGE, origin=ORIGIN, organization_id=1)
_JOB = Job(plan_data.JOB, JobKind.REPLAY, 1, None, None, None, 0, None, 0, ORIGIN)
_MINUTE = timedelta(minutes=1)
_PAGES = [
    *(Page(size=10, start=start) for start in (None, MIDDLE_KEY)),
    *(Page(size=10, start=start, newer=True) for start in (0, MIDDLE_KEY, MAX_BIGINT)),
]
_SEARCHES = (
    AuditSearch(),
    AuditSearch(target=_PUBLIC_KEYS[0]),
    AuditSearch(token_id=1),
    AuditSearch(action="projectkey.create"),
)


async def read_keys(c: Connection) -> None:
    """Read keys and pages of keys."""
    await keys.select_keys(c, [(1, 1, public_key) for public_key in _PUBLIC_KEYS])
    await keys.select_by_row_id(c, organization_id=1, project_id=1, row_id=MIDDLE_KEY)
    await keys.select_taken(c, key_of(MIDDLE_KEY))
    await key_lifecycle.select_successor(c, key_of(FIRST_KEY), PROJECT)
    await key_lifecycle.lock_name(c, PROJECT, "key")
    for name, is_active in (("key", True), ("none", True), ("none", False)):  # if no active key was found
        await key_lifecycle.select_by_name(c, PROJECT, name, active=is_active, now=datetime.now(UTC))
    for page in _PAGES:
        for active in (None, False):
            pages = [KeyPage(1, 1, page, active), KeyPage(2, SMALL_PROJECT.id, page, active)]
            await key_pages.select_pages(c, pages)
            await key_pages.select_page_of_organization(c, organization_id=1, page=page, active=active)


async def read_tenants(c: Connection) -> None:
    """Read organizations, projects, tokens and audit entries."""
    for organization, project in (("1", "1"), ("o-2", "p-1000"), ("o-2", "1000"), ("none", "none")):
        await organizations.select_organization(c, organization)
        await projects.select_project(c, organization=organization, project=project)
        await projects.select_redirect(c, organization=organization, slug="former-1000")
    for after in ("", "p-1000"):
        await projects.select_projects(c, organization_id=2, search=ProjectSearch(), limit=20, after=after)
    for search in (ProjectSearch(slugs=["p-1000"]), ProjectSearch(ids=[3, 1000])):
        await projects.select_projects(c, organization_id=2, search=search, limit=20)
    await projects.select_projects_of_all(c, ProjectSearch(), skip=0, limit=20)
    await projects.select_projects_of_keys(c, organization_id=2, public_keys=_PUBLIC_KEYS)
    await tokens.select_by_hashes(c, [sha256(b"1").digest(), sha256(b"session 1").digest(), b"unknown"])
    for page in _PAGES:
        for conditions in _SEARCHES:
            await audit.select_entries(c, 1, conditions, page)
    await audit.is_recorded(c, organization_id=2000, change_id=_EVENT_ID)


async def create_keys(c: Connection) -> None:
    """Create a key, with an idempotency key."""
    new = replace(key_of(0), public_key=_DELETED_KEYS[0])
    event = replace(_EVENTS[0], public_key=new.public_key)
    key = replace(_IDEMPOTENCY_KEY, text="new")
    await deleted_keys.lock_public_keys(c, [new.public_key])
    await deleted_keys.lock_deleted_key(c, new.public_key)
    await key_writes.insert_keys(
        c, [PreparedWrite(PROJECT, new, event, replace(ORIGIN, token_id=1), idempotency_key=key)]
    )
    await deleted_keys.remove_deleted_key(c, new.public_key, organization_id=2)
    for text in ("i-1", "i-2"):
        await idempotency.select_result(c, replace(_IDEMPOTENCY_KEY, text=text))
    await idempotency.insert_result(c, replace(_IDEMPOTENCY_KEY, text="another"), target_id=1)


async def change_keys(c: Connection) -> None:
    """Change and delete keys."""
    await key_locks.lock_key(c, PROJECT, _PUBLIC_KEYS[1])
    update, deletion = (
        PreparedWrite(PROJECT, next_version(locked.key), replace(event, type=kind), ORIGIN, "projectkey.edit", {})
        for locked, event, kind in zip(_LOCKED[:2], _EVENTS, (EventType.UPDATED, EventType.DELETED), strict=False)
    )
    assert len(await key_changes.change_keys(c, [update, deletion])) == 2
    record = AuditRecord(
        organization_id=1,
        project_id=1,
        action="projectkey.edit",
        target=_PUBLIC_KEYS[1],
        data={},
        origin=ORIGIN,
        change_id=_EVENT_ID,
    )
    await audit.insert_audit_records(c, [record])
    await key_writes.update_versions(c, 1, _LOCKED, _EVENTS)
    await key_writes.delete_keys(c, 1, _LOCKED, _EVENTS)


async def change_tenants(c: Connection) -> None:
    """Create, change and delete organizations, projects and tokens."""
    await organizations.insert_organization(c, NewOrganization("new", "new"))
    await organizations.lock_organization(c, 1)
    await organizations.update_organization(c, ORGANIZATION)
    await projects.lock_project(c, SMALL_PROJECT)
    await projects.insert_project(c, ORGANIZATION, NewProject("new", "new"))
    await projects.update_project(c, SMALL_PROJECT, replace(SMALL_PROJECT, slug="renamed", name="renamed"))
    await projects.hide_project(c, SMALL_PROJECT)
    locked, _ = await key_locks.lock_keys(c, KeyRange(2, SMALL_PROJECT.id), limit=20)
    await key_writes.delete_keys(c, 2, locked, _EVENTS[:1] * len(locked))
    await projects.delete_project(c, organization_id=2, project_id=SMALL_PROJECT.id)
    await tokens.insert_token(
        c,
        organization_id=1,
        name="new",
        token_hash=sha256(b"new").digest(),
        last_four="last",
        scopes=["org:admin"],
        expires_at=None,
        rate_limit=None,
    )
    await tokens.revoke_token(c, 1)
    await tokens.note_use(c, [1, 2, 3], unless_within=_MINUTE)


async def run_jobs(c: Connection) -> None:
    """Execute batch jobs and deletions of expired rows."""
    await batch_jobs.insert_job(c, _NEW_JOB)
    await batch_jobs.restart_or_insert_job(c, _NEW_JOB)
    await batch_jobs.lock_next_job(c, [1])
    await batch_jobs.advance_job(c, _JOB, pause=_MINUTE)
    await batch_jobs.postpone_job(c, _JOB, pause=_MINUTE)
    await batch_jobs.seconds_until_due(c)
    await batch_jobs.select_job(c, _JOB.id)
    await batch_jobs.select_unfinished(c, limit=10)
    await batch_jobs.cancel_replay(c, _JOB.id)
    await idempotency.delete_expired(c, limit=20)
    await key_lifecycle.select_expired(c, limit=20)
    await key_lifecycle.count_expiring(c, within=timedelta(days=7), most=20)
    await key_locks.lock_keys(c, KeyRange(1, 1, after_id=MIDDLE_KEY), limit=20)
    await key_locks.lock_keys_by_public_keys(c, _PUBLIC_KEYS)
    await deleted_keys.lock_deleted_by_public_keys(c, _DELETED_KEYS)
    await deleted_keys.update_deleted_versions(c, _DELETED)
    await deleted_keys.insert_deleted_keys(c, [DeletedVersion("0" * 32, 2)], [(1, 1)])
    await full_scan.select_key_statuses(c, _PUBLIC_KEYS)


async def count_usage(c: Connection) -> None:
    """Add outcomes, move offsets, delete old hours, and read statistics."""
    await usage.claim_reader(c, "reader", lease=_MINUTE)
    assert len(await usage.select_offsets(c, "topic-7")) == 10
    await usage.insert_offsets(c, "topic-7", {1007: 0})
    await usage.move_offsets(c, "topic-7", {7: (0, 5), 107: (0, 9)})
    await usage.note_gap(c)
    begin = int(plan_data.FIRST_HOUR.timestamp())
    hours = [plan_data.FIRST_HOUR, plan_data.FIRST_HOUR + timedelta(hours=1)]
    ids = [0, 10**9, *_ROW_IDS]
    await usage.add_usage(c, {UsageCounter(row_id, 1, hour, 0): 1 for row_id in ids for hour in hours})
    for start in (begin, begin + 100 * DAY):
        found = await usage.select_usage(c, PROJECT, MIDDLE_KEY, range(start, start + 8 * HOUR, HOUR))
        assert len(found) == 8
    await usage.select_collected_for(c)
    assert await usage.select_unused(c, PROJECT, [FIRST_KEY, MIDDLE_KEY], timedelta()) <= {FIRST_KEY, MIDDLE_KEY}
    await usage.delete_old_usage(c, older_than=_MINUTE, limit=20)


async def import_records(c: Connection) -> None:
    """Compare records of a file with rows, and insert them."""
    slug = PROJECT.organization.slug
    await transfers.select_organizations(c, [1, 2], [slug])
    await transfers.select_projects(c, [1, 2], [(slug, PROJECT.slug)])
    await transfers.lock_organizations(c, [1, 2])
    await transfers.select_keys(c, _PUBLIC_KEYS, [locked.key.secret_key for locked in _LOCKED])
    await transfers.insert_organizations(c, [{"id": 90_000, "slug": "new"}, {"slug": "newer"}], ORIGIN)
    await transfers.insert_projects(c, [{"id": 90_000, "organization_slug": "new", "slug": "new"}], ORIGIN)
    key = replace(key_of(FIRST_KEY), public_key="0" * 32, secret_key="0" * 32, id=FIRST_KEY)
    await transfers.insert_imported_keys(c, [PreparedWrite(PROJECT, key, _EVENTS[0], ORIGIN)])


async def publish(c: Connection) -> None:
    """Read, delete and park outbox rows."""
    await outbox.insert_events(c, _EVENTS)
    store = outbox_of(c)
    await store.select_unpublished({0: 10, 1: 10}, held=range(1, 20))
    started_at = await c.fetchval("SELECT pg_postmaster_start_time()")
    await store.delete_published([(1, 1, 0), (4, 4, 0)], server_started_at=started_at)
    await outbox.is_unpublished(c, shard=1, event_id=_EVENT_ID)
    await outbox.count_outbox(c, most=20)
    await outbox.notify_publishers(c)
    [row], _ = await store.select_unpublished({1: 1}, held=[])
    await store.park(row, epoch=0, server_started_at=started_at, reason="refused")
    [parked, *_] = await outbox_admin.select_parked(c, limit=10)
    await outbox_admin.select_parked(c, key=parked.public_key, limit=10)
    await outbox_admin.count_blocked(c, parked)
    await outbox_admin.unpark(c, key=parked.public_key)
    await outbox_admin.discard_parked(c, parked)
    await outbox_admin.select_backlog(c)


async def own_shards(c: Connection) -> None:
    """Claim and release shards."""
    pool: Any = OneConnection(c)
    ownership = shards.PostgresShardOwnership(pool, name="publisher-1", lease=1.0)
    await ownership.report_alive()
    await ownership.claim(limit=12)
    await ownership.renew()
    await ownership.newest_seq_if_owner(1, epoch=1)
    await ownership.release([1])
    await ownership.sign_off()
    await shards.count_publishers(c)


CALLS: Final[tuple[Calls, ...]] = (
    read_keys,
    read_tenants,
    create_keys,
    change_keys,
    change_tenants,
    run_jobs,
    count_usage,
    import_records,
    publish,
    own_shards,
    use_console,
)
