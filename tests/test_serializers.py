"""Serialized keys: cached until a value that they depend on changes."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from service.app import Service
from service.domain.dsn import Ingest, endpoints
from service.domain.model import (
    LoaderOptions,
    NewProjectKey,
    Organization,
    Origin,
    Project,
    ProjectKey,
    ProjectKeyChange,
    RateLimit,
)
from service.domain.pagination import KeyRows, Page
from service.http.serializers import KeySerializer, key_to_json
from tests.conftest import make_project

_CREATED_AT = datetime(2026, 3, 4, 5, 6, 7, 890, UTC)
_INGEST = Ingest("https://sentry.io", org_subdomains=True)
_PROJECT = Project(
    id=42,
    slug="web",
    name="Web",
    default_browser_sdk_version="9.x",
    created_at=_CREATED_AT,
    organization=Organization(id=7, slug="acme", name="Acme", ingest_url=None, created_at=_CREATED_AT),
)
_KEY = ProjectKey(
    project_id=42,
    label="Fabulous Key",
    public_key="a" * 32,
    secret_key="b" * 32,
    is_active=True,
    rate_limit=None,
    browser_sdk_version=None,
    loader_options=LoaderOptions(),
    version=1,
    created_at=_CREATED_AT,
)
_ORIGIN = Origin(token_id=None, request_id="test")


def _expected(key: ProjectKey, project: Project) -> bytes:
    return orjson.dumps(key_to_json(key, endpoints(_INGEST, project), project.default_browser_sdk_version))


@pytest.mark.parametrize(
    "change",
    [
        {"project_id": 43},
        {"label": "Other"},
        {"secret_key": "c" * 32},
        {"is_active": False},
        {"rate_limit": RateLimit(window=60, count=5)},
        {"browser_sdk_version": "8.x"},
        {"loader_options": LoaderOptions(has_debug=True)},
        {"created_at": _CREATED_AT + timedelta(microseconds=1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_key_is_serialized_again(change: dict[str, Any]) -> None:
    """The cache compares all values, not only the version."""
    serializer = KeySerializer(_INGEST)
    changed = replace(_KEY, **change)
    project = replace(_PROJECT, id=changed.project_id)
    first, second = serializer.serialize(_KEY, _PROJECT), serializer.serialize(changed, project)
    assert first == _expected(_KEY, _PROJECT)
    assert second == _expected(changed, project)
    assert first != second


@pytest.mark.parametrize(
    "project",
    [
        replace(_PROJECT, default_browser_sdk_version="8.x"),
        replace(_PROJECT, organization=replace(_PROJECT.organization, id=8)),
        replace(_PROJECT, organization=replace(_PROJECT.organization, ingest_url="https://relay.example.com")),
    ],
    ids=["default SDK", "organization", "ingest URL"],
)
def test_a_key_of_a_changed_project_is_serialized_again(project: Project) -> None:
    """The key itself is unchanged."""
    serializer = KeySerializer(_INGEST)
    assert serializer.serialize(_KEY, _PROJECT) != serializer.serialize(_KEY, project) == _expected(_KEY, project)


def test_lists_are_json_arrays_of_the_keys() -> None:
    """Pages of one project and lists of several projects, with zero, one and two keys."""
    serializer, other = KeySerializer(_INGEST), replace(_KEY, public_key="d" * 32)
    for keys in ([], [_KEY], [_KEY, other]):
        expected = [orjson.loads(_expected(key, _PROJECT)) for key in keys]
        assert orjson.loads(serializer.serialize_page(KeyRows([], keys), Page(size=10), _PROJECT)) == expected
        assert orjson.loads(serializer.serialize_all([(key, _PROJECT) for key in keys])) == expected


async def test_concurrent_reads_share_a_row_and_an_update_is_read_at_once(
    service: Service,
) -> None:
    """Concurrent reads of a key and of its page share one row; the next read after an update returns it."""
    project = await make_project(service)
    api = service.use_cases
    created = await api.create_key.execute(NewProjectKey(name="Before"), project, _ORIGIN)
    public_key, page = created.key.public_key, Page(size=10)
    gets = await asyncio.gather(*(api.read_keys.get(project, public_key) for _ in range(20)))
    lists = await asyncio.gather(*(api.read_keys.page(project, page) for _ in range(20)))
    assert {id(key) for key in gets} == {id(rows.keys[0]) for rows in lists} == {id(gets[0])}
    await api.change_keys.update(project, public_key, ProjectKeyChange(name="After"), _ORIGIN)
    assert (await api.read_keys.get(project, public_key)).label == "After"
    [key] = (await api.read_keys.page(project, page)).keys
    assert key.label == "After"
