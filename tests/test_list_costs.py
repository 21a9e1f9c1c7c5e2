"""What a page costs Postgres: its own rows, wherever it is and however many others there are."""

from uuid import uuid4

import orjson
import pytest

from service.app import Service
from service.postgres import audit, projects
from service.postgres import key_pages as key_lists
from tests.conftest import make_organization, make_project
from tests.outbox import Postgres

KEYS = 20_000
OFF_EVERY = 5_000
"""One key of so many is switched off."""

_FILL = """
    INSERT INTO project_key (project_id, label, public_key, secret_key, is_active, loader_options)
    SELECT $1::bigint, 'key', md5('public' || $1 || '-' || number), md5('secret' || $1 || '-' || number),
           number % $3 <> 0, '{"hasReplay": true, "hasPerformance": true, "hasDebug": false, "hasFeedback": false,
           "hasLogsAndMetrics": false}'
    FROM generate_series(1, $2::integer) AS number
"""


@pytest.fixture
async def full(service: Service, postgres: Postgres) -> tuple[Postgres, int, int]:
    """A connection to a database with many keys; an organization's and its project's id.

    Another project has as many, which are all newer: whoever goes by the newest has to pass them.
    """
    project = await make_project(service)
    await postgres.execute(_FILL, project.id, KEYS, OFF_EVERY)
    other = await make_project(service, organization=await make_organization(service, "other"))
    await postgres.execute(_FILL, other.id, KEYS, OFF_EVERY)
    await postgres.execute("VACUUM ANALYZE project_key")
    return postgres, project.organization.id, project.id


async def _blocks(postgres: Postgres, statement: str, *arguments: object) -> int:
    """How many blocks of 8 KiB a statement looks at."""
    [plan] = orjson.loads(await postgres.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments))
    return int(plan["Plan"]["Shared Hit Blocks"]) + int(plan["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("active", [None, True, False])
@pytest.mark.parametrize("statement", [key_lists._OLDER, key_lists._NEWER], ids=["older", "newer"])
async def test_every_page_of_a_project_costs_the_same(
    full: tuple[Postgres, int, int], statement: str, *, active: bool | None
) -> None:
    """The first, the last and one in the middle, of all keys and of those with a status."""
    postgres, organization_id, project_id = full
    start, end = await postgres.fetchrow("SELECT min(id), max(id) FROM project_key") or (0, 0)
    costs = [
        await _blocks(postgres, statement, [organization_id], [project_id], [at], [0], [11], [active])
        for at in (start, (start + end) // 2, end)
    ]
    assert max(costs) < 40, costs


@pytest.mark.parametrize("active", [None, False])
@pytest.mark.parametrize("statement", [key_lists._OLDER_IDS, key_lists._NEWER_IDS], ids=["older", "newer"])
async def test_every_page_of_an_organization_costs_a_look_at_each_project(
    full: tuple[Postgres, int, int], service: Service, statement: str, *, active: bool | None
) -> None:
    """However many keys there are."""
    postgres, organization_id, _ = full
    organization = await service.use_cases.organizations.get(str(organization_id))
    for slug in ("one", "two", "three"):
        await make_project(service, organization=organization, slug=slug)
    start, end = await postgres.fetchrow("SELECT min(id), max(id) FROM project_key") or (0, 0)
    costs = [
        await _blocks(postgres, statement, organization_id, at, active, 0, 11)
        for at in (start, (start + end) // 2, end)
    ]
    assert max(costs) < 80, costs


async def test_an_organizations_projects_are_found_among_all_others(
    full: tuple[Postgres, int, int], service: Service
) -> None:
    """Neither another organization's many are looked at, nor are all of its own sorted."""
    postgres, organization_id, _ = full
    other = await make_organization(service, "another")
    for owner in (organization_id, other.id):
        await postgres.execute(
            "INSERT INTO project (organization_id, slug, name)"
            " SELECT $1, 'p-' || number, 'p' FROM generate_series(1, 10000) AS number",
            owner,
        )
    await postgres.execute("VACUUM ANALYZE project")
    search = [None] * 4
    assert await _blocks(postgres, projects._SELECT_BY_SLUG, organization_id, *search, "p-5", 0, 11) < 20


async def test_an_organizations_audit_is_found_among_all_others(full: tuple[Postgres, int, int]) -> None:
    """Its entries are most of those there are, and older than ten thousand of another's."""
    postgres, organization_id, _ = full
    for owner, number in ((organization_id, 90_000), (organization_id + 1, 10_000)):
        await postgres.execute(
            "INSERT INTO audit_entry (organization_id, action, target, request_id, data, change_id)"
            " SELECT $1, 'x', 'x', 'x', '{}', gen_random_uuid() FROM generate_series(1, $2::integer)",
            owner,
            number,
        )
    await postgres.execute("VACUUM ANALYZE audit_entry")
    nothing = [None] * 5
    for statement, start in ((audit._OLDER, 2**63 - 1), (audit._NEWER, 0)):
        assert await _blocks(postgres, statement, *nothing, start, 0, 11, organization_id) < 40
    assert await _blocks(postgres, audit._IS_RECORDED, organization_id, uuid4(), 11) < 20
