"""The JSON of `sentry export`: reads its records, and writes the same ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from service.domain.dsn import is_base_url
from service.domain.events import loader_options_to_json, time_to_json
from service.domain.model import (
    BROWSER_SDK_VERSIONS,
    LOADER_OPTIONS,
    MAX_RATE_LIMIT_COUNT,
    MAX_RATE_LIMIT_WINDOW,
    ORGANIZATION_SLUG,
    PROJECT_SLUG,
    Organization,
    Project,
    ProjectKey,
)
from service.usecases.transfer.stage import Document, Kind, Stage
from service.usecases.transfer.values import (
    MAX_ID,
    UnsuitableValueError,
    check_boolean,
    check_choice,
    check_id,
    check_key,
    check_name,
    check_number,
    check_slug,
    check_time,
)

_ORGANIZATION: Final = "sentry.organization"
_OPTION: Final = "sentry.organizationoption"
_PROJECT: Final = "sentry.project"
_KEY: Final = "sentry.projectkey"

_INGEST_URL: Final = "sentry:relay_dsn_endpoint"
"""The key of the option that contains an organization's ingest URL."""

_STORE: Final = 1
"""The bit of a key's roles that allows it to send events."""

LABEL_LENGTH: Final = 14
"""Characters of the public key that are the name of a key without a label."""

Fields = Mapping[str, Any]


def stage_items(items: Iterable[tuple[int, Fields]], stage: Stage) -> None:
    """Add the records of a file, each with its line; values that do not fit are conflicts."""
    for line, item in items:
        model = str(item.get("model"))
        read = _READERS.get(model)
        if read is None:
            stage.skipped["records of other models"] += 1
            continue
        try:
            pk, fields = check_id("pk", item.get("pk")), item.get("fields")
            read(stage, line, pk, _check_object("fields", fields))
        except UnsuitableValueError as error:
            stage.add_conflict(line, f"{model}: {error}")
    stage.skip_inactive_projects()


def _read_organization(stage: Stage, line: int, pk: int, fields: Fields) -> None:
    slug = check_slug("slug", fields.get("slug"), ORGANIZATION_SLUG)
    document = {
        "id": pk,
        "ref": pk,
        "slug": slug,
        "name": check_name("name", fields.get("name") or slug),
        "ingest_url": None,
        "created_at": check_time("date_added", fields.get("date_added")),
    }
    stage.add(Kind.ORGANIZATION, line, document)


def _read_option(stage: Stage, line: int, pk: int, fields: Fields) -> None:
    del line, pk
    url = _decoded(fields.get("value"))
    if fields.get("key") != _INGEST_URL or not url:
        return
    url = url.rstrip("/") if isinstance(url, str) else ""
    if not is_base_url(url):
        raise UnsuitableValueError(_INGEST_URL, "must be an http or https URL without a query")
    stage.add_ingest_url(check_id("organization", fields.get("organization")), url)


def _read_project(stage: Stage, line: int, pk: int, fields: Fields) -> None:
    slug = check_slug("slug", fields.get("slug"), PROJECT_SLUG)
    document = {
        "id": pk,
        "organization": check_id("organization", fields.get("organization")),
        "slug": slug,
        "name": check_name("name", fields.get("name") or slug),
        "is_active": fields.get("status", 0) == 0,
        "created_at": check_time("date_added", fields.get("date_added")),
    }
    stage.add(Kind.PROJECT, line, document)


def _read_key(stage: Stage, line: int, pk: int, fields: Fields) -> None:
    if not check_number("roles", fields.get("roles", "1"), highest=MAX_ID) & _STORE:
        stage.skipped["keys without the role store"] += 1
        return
    public_key, secret_key = check_key("public_key", fields.get("public_key")), fields.get("secret_key")
    document = {
        "id": pk,
        "project_id": check_id("project", fields.get("project")),
        "public_key": public_key,
        "label": check_name("label", fields.get("label") or public_key[:LABEL_LENGTH]),
        "is_active": check_number("status", fields.get("status", 0), highest=1) == 0,
        "rate_limit": read_rate_limit(fields, count="rate_limit_count", window="rate_limit_window"),
        "created_at": check_time("date_added", fields.get("date_added")),
        **_read_data(fields),
    }
    if secret_key is not None:
        document["secret_key"] = check_key("secret_key", secret_key)
    stage.add(Kind.KEY, line, document)


def read_rate_limit(fields: Fields, *, count: str, window: str) -> list[int] | None:
    """Return the window in seconds and the count; None for no limit, also if one of them is 0, "" or null."""
    limit = [
        check_number(window, fields.get(window) or 0, highest=MAX_RATE_LIMIT_WINDOW),
        check_number(count, fields.get(count) or 0, highest=MAX_RATE_LIMIT_COUNT),
    ]
    return limit if all(limit) else None


def _read_data(fields: Fields) -> Document:
    """Return the values of the member ``data``; an option of the loader that is absent is off, as in Sentry."""
    data = _check_object("data", _decoded(fields.get("data")) or {})
    options = _check_object("dynamicSdkLoaderOptions", data.get("dynamicSdkLoaderOptions") or {})
    version = data.get("browserSdkVersion") or None
    return {
        "browser_sdk_version": version and check_choice("browserSdkVersion", version, BROWSER_SDK_VERSIONS),
        "loader_options": [check_boolean(name, options.get(name, False)) for name in LOADER_OPTIONS],
        "expires_at": check_time("expiresAt", data.get("expiresAt")),
    }


def _decoded(value: Any) -> Any:
    """Return a value that some versions of Sentry write as JSON inside a string."""
    if isinstance(value, str) and value.startswith(('"', "{")):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise UnsuitableValueError("text in quotes or braces", "must be JSON") from None
    return value


def _check_object(name: str, value: Any) -> Fields:
    if not isinstance(value, dict):
        raise UnsuitableValueError(name, "must be an object")
    return value


_READERS: Final[Mapping[str, Callable[[Stage, int, int, Fields], None]]] = {
    _ORGANIZATION: _read_organization,
    _OPTION: _read_option,
    _PROJECT: _read_project,
    _KEY: _read_key,
}


def organization_item(organization: Organization) -> Document:
    """Return the record of an organization."""
    fields = {"name": organization.name, "slug": organization.slug, "status": 0}
    return _item(_ORGANIZATION, organization.id, fields | _date(organization))


def ingest_url_item(organization: Organization) -> Document:
    """Return the record of an organization's ingest URL."""
    fields = {"organization": organization.id, "key": _INGEST_URL, "value": organization.ingest_url}
    return _item(_OPTION, organization.id, fields)


def project_item(project: Project) -> Document:
    """Return the record of a project."""
    fields = {
        "name": project.name,
        "slug": project.slug,
        "organization": project.organization.id,
        "status": 0,
    }
    return _item(_PROJECT, project.id, fields | _date(project))


def key_item(row_id: int, key: ProjectKey, *, with_secret: bool) -> Document:
    """Return the record of a key; without its secret, an import generates another one."""
    limit = key.rate_limit
    data: Document = {"dynamicSdkLoaderOptions": loader_options_to_json(key.loader_options)}
    if key.browser_sdk_version is not None:
        data["browserSdkVersion"] = key.browser_sdk_version
    if key.expires_at is not None:
        data["expiresAt"] = time_to_json(key.expires_at)
    fields = {
        "project": key.project_id,
        "label": key.label,
        "public_key": key.public_key,
        "secret_key": key.secret_key if with_secret else None,
        "roles": str(_STORE),
        "status": 0 if key.is_active else 1,
        "rate_limit_count": limit and limit.count,
        "rate_limit_window": limit and limit.window,
        "data": data,
    }
    return _item(_KEY, row_id, fields | _date(key))


def _item(model: str, pk: int, fields: Document) -> Document:
    return {"model": model, "pk": pk, "fields": fields}


def _date(dated: Organization | Project | ProjectKey) -> Document:
    return {"date_added": time_to_json(dated.created_at)}
