"""What a search of the audit log costs Postgres: the entries that match, however many others there are."""

from typing import Any

import orjson
import pytest

from service.domain.audit import AuditSearch
from service.domain.pagination import Page
from service.postgres import audit
from tests.outbox import Postgres

_ENTRIES = 5_000
_FILL = """
    INSERT INTO audit_entry (organization_id, project_id, token_id, action, target, request_id, data, change_id)
    SELECT $1, 1, 1, 'projectkey.create', CASE WHEN number % 2 = 0 THEN 'frequent' ELSE md5(number::text) END,
           'x', '{}', gen_random_uuid()
    FROM generate_series(1, $2::integer) AS number
"""
_INSERT_RARE = """
    INSERT INTO audit_entry (organization_id, project_id, token_id, action, target, request_id, data, change_id)
    VALUES ($1, 2, 2, 'organization.edit', 'rare', 'x', '{}', gen_random_uuid())
"""
_BY_TARGET, _BY_TOKEN = AuditSearch(target="rare"), AuditSearch(token_id=2)
_BY_ACTION = AuditSearch(action="organization.edit")
_BY_ALL = AuditSearch(target="rare", token_id=2, project_id=2, action="organization.edit")


@pytest.fixture(params=["analyzed", "not analyzed"])
async def log(postgres: Postgres, request: pytest.FixtureRequest) -> Postgres:
    """A connection to a database where one entry is between two times 5 000; another organization has as many."""
    await postgres.execute("SET enable_seqscan = off")  # as the service's connections
    for organization_id in (1, 2):
        await postgres.execute(_FILL, organization_id, _ENTRIES)
        await postgres.execute(_INSERT_RARE, organization_id)
        await postgres.execute(_FILL, organization_id, _ENTRIES)
    if request.param == "analyzed":
        await postgres.execute("ANALYZE audit_entry")
    return postgres


def _rows_read(node: dict[str, Any]) -> int:
    """How many rows of audit_entry a plan reads, those that its filters remove among them."""
    own = 0
    if node.get("Relation Name") == "audit_entry":
        own = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
    return int(own) + sum(_rows_read(child) for child in node.get("Plans", []))


async def _read(log: Postgres, search: AuditSearch, page: Page, organization_id: int) -> tuple[int, int]:
    """The number of rows that a search reads, and of those that it returns."""
    statement = audit._statement(search, newer=page.newer)
    [plan] = orjson.loads(
        await log.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *audit._arguments(search, page), organization_id
        )
    )
    return _rows_read(plan["Plan"]), int(plan["Plan"]["Actual Rows"])


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
async def test_a_search_reads_the_entries_that_match(log: Postgres, plan: str, *, newer: bool) -> None:
    """By each filter alone and with others, forwards and backwards, with a plan for any values too."""
    await log.execute(f"SET plan_cache_mode = {plan}")
    page = Page(size=10, start=0 if newer else None, newer=newer)
    for search in (_BY_TARGET, _BY_TOKEN, _BY_ACTION, _BY_ALL):
        read, returned = await _read(log, search, page, 1)
        assert returned == 1, search
        assert read <= 2, search  # with several filters a plan may also read the other organization's entry
    for search in (AuditSearch(), AuditSearch(target="frequent"), AuditSearch(action="projectkey.create")):
        assert await _read(log, search, page, 1) == (11, 11), search
    assert await _read(log, AuditSearch(token_id=1), page, 1) == (11, 11)
    # With further filters a plan may read and sort all entries of the target, half of the organization's.
    read, returned = await _read(log, AuditSearch(target="frequent", token_id=1, project_id=1), page, 1)
    assert returned == 11
    assert read <= _ENTRIES


async def test_a_search_in_an_organization_without_entries_reads_none(log: Postgres) -> None:
    """The organizations that have many matching entries cost it nothing."""
    for search in (
        AuditSearch(target="frequent"),
        AuditSearch(token_id=1),
        AuditSearch(action="projectkey.create"),
    ):
        for newer in (False, True):
            page = Page(size=10, start=0 if newer else None, newer=newer)
            assert await _read(log, search, page, 3) == (0, 0), (search, newer)


async def test_the_entries_of_a_target_come_in_the_order_of_their_ids(log: Postgres) -> None:
    """Backwards from the newest and forwards from the oldest; a page is always newest first."""
    search = AuditSearch(target="frequent")
    newest = await audit.select_entries(log, 1, search, Page(size=10))
    older = await audit.select_entries(log, 1, search, Page(size=10, start=newest[-1].id))
    back = await audit.select_entries(log, 1, search, Page(size=10, start=older[-1].id, newer=True))
    ids = [entry.id for entry in newest + older[1:]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 21
    assert [entry.id for entry in back] == ids[-12:-1]
