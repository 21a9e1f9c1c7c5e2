"""The requests of the measurements, and the projects and keys that they concern."""

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson

from bench.deployment import MeasuredReplica
from testkit.http_client import request_bytes

ORGANIZATION: Final = "bench"
CREATE_BODY: Final = b'{"name":"Fabulous Key"}'
_NAMES: Final = (b'{"name":"Fabulous Key"}', b'{"name":"Splendid Key"}')
"""The bodies of updates in turn: each update changes the key, and every response has the same length."""

READ_KEYS: Final = 1000
_PAGE_SIZE: Final = 10
_PROJECTS: Final = 64
"""Projects whose pages are read in turn: one for each connection, so that few requests share a query."""

_CONCURRENCY: Final = 32

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Requests:
    """The complete requests to a service, and the lengths of the bodies of its responses.

    Attributes:
        create: A create in a project that no other request concerns.
        written_project: The id of that project.
        keys: Reads of the keys of another project.
        updates: Changes of the same keys.
        pages: Reads of the first page of other projects.
        key_length: Bytes of the body of a key.
        page_length: Bytes of the body of a page.
    """

    create: str
    written_project: int
    keys: tuple[str, ...]
    updates: tuple[str, ...]
    pages: tuple[str, ...]
    key_length: int
    page_length: int


async def create_requests(service: MeasuredReplica) -> Requests:
    """Create an organization with a project to write into and projects with keys to read; return the requests."""
    await service.post("/api/0/organizations/", {"name": ORGANIZATION, "slug": ORGANIZATION})
    written_project = await _create_project(service, "written")
    keys = await _create_keys(service, "read", READ_KEYS)
    names = [f"read-{number}" for number in range(_PROJECTS)]
    for name in names:
        await _create_keys(service, name, _PAGE_SIZE + 1)
    pages, token = [keys_path(name) for name in names], service.token
    return Requests(
        create=request_bytes("POST", keys_path("written"), token=token, body=CREATE_BODY).decode(),
        written_project=written_project,
        keys=tuple(request_bytes("GET", key, token=token).decode() for key in keys),
        updates=tuple(
            request_bytes("PUT", key, token=token, body=body).decode() for body in reversed(_NAMES) for key in keys
        ),
        pages=tuple(request_bytes("GET", page, token=token).decode() for page in pages),
        key_length=len(await service.send("GET", keys[0])),
        page_length=len(await service.send("GET", pages[0])),
    )


def keys_path(project: str) -> str:
    """Return the path of the list of the keys of a project."""
    return f"/api/0/projects/{ORGANIZATION}/{project}/keys/"


async def _create_project(service: MeasuredReplica, name: str) -> int:
    body = {"name": name, "defaultKey": False}
    return int((await service.post(f"/api/0/organizations/{ORGANIZATION}/projects/", body))["id"])


async def _create_keys(service: MeasuredReplica, project: str, number: int) -> list[str]:
    """Create a project with keys; return the paths of the keys."""
    await _create_project(service, project)
    path, body = keys_path(project), orjson.loads(CREATE_BODY)
    created = await gather(service.post(path, body) for _ in range(number))
    return [f"{path}{key['id']}/" for key in created]


async def gather(calls: Iterable[Awaitable[Result]]) -> list[Result]:
    """Return the results of calls, of which 32 are in progress at a time."""
    slots = asyncio.Semaphore(_CONCURRENCY)

    async def limited(call: Awaitable[Result]) -> Result:
        async with slots:
            return await call

    return await asyncio.gather(*map(limited, calls))
