"""A record of the topic as a line: one for people, one for machines."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from service.domain.events import EventType, time_to_json
from service.kafka.reader import TopicMessage

_COLOURS: Final[Mapping[str, str]] = {
    EventType.CREATED: "\x1b[32m",
    EventType.UPDATED: "\x1b[33m",
    EventType.DELETED: "\x1b[31m",
}
_DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"


def value_of(seen: TopicMessage) -> Any:
    """The value that a record's JSON tells; its text where it is none, None for a tombstone."""
    if seen.value is None:
        return None
    try:
        return orjson.loads(seen.value)
    except orjson.JSONDecodeError:
        return seen.value.decode(errors="replace")


def readable_line(seen: TopicMessage, *, coloured: bool = False) -> str:
    """A line for people; whatever is in the topic, nothing but what `coloured` asks for can move a terminal."""
    when = datetime.fromtimestamp(seen.timestamp_ms / 1000, UTC)
    kind = seen.headers.get("ce_type", "")
    colour, dim, plain = (_COLOURS.get(kind, ""), _DIM, _PLAIN) if coloured else ("", "", "")
    return (
        f"{dim}{when:%H:%M:%S}.{when.microsecond // 1000:03}{plain} {colour}{_safe(kind):20}{plain} "
        f"{_safe(seen.key)} v{_safe(seen.headers.get('ce_keyversion', '?'))} {_told(seen)}"
    )


def _told(seen: TopicMessage) -> str:
    if seen.value is None:
        return "tombstone"
    state = value_of(seen)
    if not isinstance(state, dict):
        return f"no state: {state!r:.60}"
    return f"project {state.get('projectId')!r} {state.get('name')!r}"


def _safe(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def json_line(seen: TopicMessage) -> str:
    """A JSON object: where the record stands, its key, headers and value."""
    line = {
        "partition": seen.partition,
        "offset": seen.offset,
        "timestamp": time_to_json(datetime.fromtimestamp(seen.timestamp_ms / 1000, UTC)),
        "key": seen.key,
        "headers": seen.headers,
        "value": value_of(seen),
    }
    return orjson.dumps(line).decode()
