"""Rows of keys and of their events, for COPY."""

from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import orjson

from service.domain.events import EventType, shard_of
from service.domain.model import new_key_half

KEY_COLUMNS: Final = ("project_id", "label", "public_key", "secret_key", "loader_options")
EVENT_COLUMNS: Final = ("id", "aggregateid", "type", "version", "shard", "payload", "headers", "created_at")
_LABEL: Final = "Fabulous Key"
_OPTIONS: Final = {
    "hasReplay": True,
    "hasPerformance": True,
    "hasDebug": False,
    "hasFeedback": False,
    "hasLogsAndMetrics": False,
}
_OPTIONS_TEXT: Final = orjson.dumps(_OPTIONS).decode()


def key_row(public_key: str, project_id: int) -> tuple[object, ...]:
    """Return the values of `KEY_COLUMNS`."""
    return project_id, _LABEL, public_key, new_key_half(), _OPTIONS_TEXT


def event_row(public_key: str, project_id: int) -> tuple[object, ...]:
    """Return the values of `EVENT_COLUMNS` for the creation of a key of organization 1."""
    now = datetime.now(UTC)
    payload = {
        "id": public_key,
        "version": 1,
        "organizationId": 1,
        "projectId": project_id,
        "name": _LABEL,
        "isActive": True,
        "rateLimit": None,
        "dsn": {"public": f"http://{public_key}@127.0.0.1:9000/{project_id}"},
        "browserSdkVersion": "10.x",
        "dynamicSdkLoaderOptions": _OPTIONS,
        "dateCreated": now.isoformat(),
    }
    text = orjson.dumps(payload).decode()
    headers = '{"x-request-id": "0123456789abcdef0123456789abcdef"}'
    return uuid4(), public_key, EventType.CREATED, 1, shard_of(public_key), text, headers, now
