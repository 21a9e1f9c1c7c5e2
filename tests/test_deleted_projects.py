"""Keys of a deleted project on a replica that still has the project in its cache."""

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import BaseRequest
from pytest_aiohttp import AiohttpClient

from service.app import Service
from service.usecases.bulk_changes import BATCH_SIZE
from tests.batch_jobs import finish, write_keys
from tests.conftest import ORIGIN, Api, MakeApi
from tests.http_service import NOT_FOUND, ApiServer
from tests.outbox import Postgres

REPEATED = {"Idempotency-Key": "one"}


@pytest.fixture
async def replicas(
    service: Service, second: Service, make_api: MakeApi, aiohttp_client: AiohttpClient
) -> tuple[Api, Api]:
    """Clients of two replicas, with the same token and the same project."""
    api = await make_api(service)
    client: TestClient[BaseRequest, None] = await aiohttp_client(ApiServer(second))
    return api, Api(client, api.token, api.project)


@pytest.mark.parametrize("more", [0, BATCH_SIZE], ids=["deleted at once", "deleted by a job"])
async def test_keys_of_a_deleted_project_are_404_on_a_replica_that_has_it_in_its_cache(
    service: Service, second: Service, replicas: tuple[Api, Api], postgres: Postgres, more: int
) -> None:
    """Each method at once, before and after the job has deleted the keys; nothing is written."""
    first, other = replicas
    await write_keys(postgres, first.project.id, more)
    key = (await (await other.create({}, headers=REPEATED)).json())["id"]
    await service.use_cases.projects.delete(first.project, ORIGIN)
    keys_path, events = other.keys_path, await postgres.fetchval("SELECT max(seq) FROM outbox")
    requests = [
        ("GET", keys_path, None, {}),
        ("GET", f"{keys_path}?status=active", None, {}),
        ("GET", f"{keys_path}?status=inactive", None, {}),
        ("GET", f"{keys_path}?cursor=0:0:1", None, {}),
        ("GET", f"{keys_path}{key}/", None, {}),
        ("PUT", f"{keys_path}{key}/", {"name": "x"}, {}),
        ("DELETE", f"{keys_path}{key}/", None, {}),
        ("POST", keys_path, {}, {}),
        ("POST", keys_path, {}, REPEATED),
    ]
    for finished in (False, True):
        for method, path, body, headers in requests:
            assert second.use_cases.projects.cache.get((first.project.organization.slug, first.project.slug))
            answer = await other.request(method, path, json=body, headers=headers)
            assert (method, path, answer.status, await answer.json()) == (method, path, 404, NOT_FOUND)
        listed = await other.request("GET", f"/api/0/organizations/{first.project.organization.slug}/project-keys/")
        assert await listed.json() == []
        if not finished:
            assert await postgres.fetchval("SELECT max(seq) FROM outbox") == events
            await finish(service, postgres)
    assert await postgres.fetchval("SELECT count(*) FROM project_key") == 0


async def test_a_list_without_keys_is_empty_while_its_project_exists(replicas: tuple[Api, Api]) -> None:
    """In both directions and of each status: an empty page differs from the page of a deleted project."""
    _, second = replicas
    for query in ("", "?status=inactive", "?cursor=0:0:1", "?cursor=5:0:1&status=active"):
        answer = await second.request("GET", second.keys_path + query)
        assert (answer.status, await answer.json()) == (200, [])
