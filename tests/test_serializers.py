"""Keys as clients read them: written once while they stay as they are, and never as they were."""

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

_MADE = datetime(2026, 3, 4, 5, 6, 7, 890, UTC)
_INGEST = Ingest("https://sentry.io", org_subdomains=True)
_PROJECT = Project(
    id=42,
    slug="web",
    name="Web",
    default_browser_sdk_version="9.x",
    created_at=_MADE,
    organization=Organization(id=7, slug="acme", name="Acme", ingest_url=None, created_at=_MADE),
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
    created_at=_MADE,
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
        {"created_at": _MADE + timedelta(microseconds=1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_of_a_key_its_text_changes_with_it(change: dict[str, Any]) -> None:
    """Whether or not its version says so: what is kept is compared whole."""
    texts = KeySerializer(_INGEST)
    changed = replace(_KEY, **change)
    first, second = texts.one(_KEY, _PROJECT), texts.one(changed, replace(_PROJECT, id=changed.project_id))
    assert first == _expected(_KEY, _PROJECT)
    assert second == _expected(changed, replace(_PROJECT, id=changed.project_id))
    assert first != second


@pytest.mark.parametrize(
    "project",
    [
        replace(_PROJECT, default_browser_sdk_version="8.x"),
        replace(_PROJECT, organization=replace(_PROJECT.organization, id=8)),
        replace(
            _PROJECT, organization=replace(_PROJECT.organization, ingest_url="https://relay.example.com")
        ),
    ],
    ids=["default SDK", "organization", "ingest URL"],
)
def test_so_does_it_with_what_its_project_gives_to_it(project: Project) -> None:
    """The key itself stays as it is."""
    texts = KeySerializer(_INGEST)
    assert texts.one(_KEY, _PROJECT) != texts.one(_KEY, project) == _expected(_KEY, project)


def test_a_list_is_the_keys_with_commas_between() -> None:
    """Of one project or of several, of none, of one key or more."""
    texts, other = KeySerializer(_INGEST), replace(_KEY, public_key="d" * 32)
    for keys in ([], [_KEY], [_KEY, other]):
        expected = [orjson.loads(_expected(key, _PROJECT)) for key in keys]
        assert orjson.loads(texts.page(KeyRows([], keys), Page(size=10), _PROJECT)) == expected
        assert orjson.loads(texts.page_of_many([(key, _PROJECT) for key in keys])) == expected


async def test_what_is_read_at_the_same_time_is_the_same_and_what_is_written_then_is_seen(
    service: Service,
) -> None:
    """Many readers of a key and of its page share one row; an update shows in the very next read."""
    project = await make_project(service)
    api = service.api
    made = await api.create_key.issue(NewProjectKey(name="Before"), project, _ORIGIN)
    public_key, page = made.key.public_key, Page(size=10)
    gets = await asyncio.gather(*(api.read_keys.get(project, public_key) for _ in range(20)))
    lists = await asyncio.gather(*(api.read_keys.page(project, page) for _ in range(20)))
    assert {id(key) for key in gets} == {id(rows.keys[0]) for rows in lists} == {id(gets[0])}
    await api.change_keys.update(project, public_key, ProjectKeyChange(name="After"), _ORIGIN)
    assert (await api.read_keys.get(project, public_key)).label == "After"
    [key] = (await api.read_keys.page(project, page)).keys
    assert key.label == "After"
