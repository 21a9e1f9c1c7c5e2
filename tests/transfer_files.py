"""Builds files for `import`, as `sentry export` writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

Item = dict[str, Any]


def organization_item(pk: int = 7, slug: str = "acme", **fields: Any) -> Item:
    """Return an organization."""
    values = {"name": slug.title(), "slug": slug, "status": 0, "date_added": "2019-06-22T22:54:28.773Z"}
    return {"model": "sentry.organization", "pk": pk, "fields": values | fields}


def option_item(organization: int, value: Any, key: str = "sentry:relay_dsn_endpoint") -> Item:
    """Return an option of an organization."""
    fields = {"organization": organization, "key": key, "value": value}
    return {"model": "sentry.organizationoption", "pk": 1, "fields": fields}


def project_item(pk: int = 40, slug: str = "web", organization: int = 7, **fields: Any) -> Item:
    """Return a project."""
    values = {
        "slug": slug,
        "name": slug.title(),
        "organization": organization,
        "status": 0,
        "date_added": "2020-06-22T22:54:28.851Z",
    }
    return {"model": "sentry.project", "pk": pk, "fields": values | fields}


def key_item(pk: int, project: int = 40, **fields: Any) -> Item:
    """Return a key."""
    values = {
        "project": project,
        "label": f"Key {pk}",
        "public_key": uuid4().hex,
        "secret_key": uuid4().hex,
        "roles": "1",
        "status": 0,
        "date_added": "2021-06-22T22:54:28.932123Z",
        "rate_limit_count": None,
        "rate_limit_window": None,
        "data": {"dynamicSdkLoaderOptions": {"hasPerformance": True, "hasReplay": True}},
    }
    return {"model": "sentry.projectkey", "pk": pk, "fields": values | fields}


def write_json(directory: Path, items: Sequence[Item]) -> str:
    """Write a file as `sentry export` does, indented; return its path."""
    path = directory / f"{uuid4().hex}.json"
    path.write_bytes(orjson.dumps(items, option=orjson.OPT_INDENT_2))
    return str(path)


def write_text(directory: Path, text: str | bytes) -> str:
    """Write a file; return its path."""
    path = directory / uuid4().hex
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)
