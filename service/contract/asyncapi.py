"""The AsyncAPI 3.0 document: the topic, what is in it, and how it is to be read; made of the schemas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.contract.catalogue import Described, described

_HEADERS: Final = "headers.1"
_CHANNEL: Final = "project-keys"
_BINDING: Final = "0.5.0"
"""The version of AsyncAPI's Kafka bindings."""

_WORDS: Final = """\
Every client key (DSN) and what becomes of it. The topic is compacted: read from its beginning, it tells the whole \
state; read on, it tells each change.

- Apply an event only if its version is newer than what you hold: an event may come twice after a fault, with the \
same `ce_id` and the same bytes.
- The events of one key come in the order of their versions. Nothing is promised between keys.
- Ignore types that you do not know, members and headers that you do not know, and records whose key begins with `_`.
- A deletion is an event, so that every reader learns of it, and then a tombstone, so that the topic forgets the key.
- Within a major version there are additions only.
"""
_TOMBSTONE: Final = """\
The key is gone: the record has no value, so that compaction removes whatever the topic still holds of the key. \
`ce_keyversion` is the version of the deletion. A deletion that is told again comes as a tombstone alone.\
"""
_FENCE: Final = (
    "The partition has a new writer; what earlier ones still send is refused from here on. Ignore it."
)
_HEARTBEAT: Final = (
    "The partition's writer is at work, though there may be nothing to tell. Only its time matters."
)

_OF_EVENTS: Final = ("ce_dataschema", "ce_partitionkey", "ce_sequence", "content-type")
"""Headers that every record with a value has, besides those that every record has."""

_OF_MARKS: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time")


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic as it is to be made; ``config`` is Kafka's, as text."""

    name: str
    partitions: int
    config: Mapping[str, str]


def asyncapi_document(topic: Topic, *, version: str) -> dict[str, Any]:
    """The document, as JSON can write it.

    Args:
        topic: where the events are.
        version: the service's own.
    """
    events = {one.name: one for name, one in described().items() if name != _HEADERS}
    messages = {one.type: _event(one) for one in events.values()} | {
        "tombstone": _tombstone(),
        "fence": _mark("fence", _FENCE),
        "heartbeat": _mark("heartbeat", _HEARTBEAT),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "projectkeys: events",
            "version": version,
            "description": _WORDS,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_CHANNEL: _channel(topic, messages)},
        "operations": {"tell": _operation(messages)},
        "components": {
            "schemas": {name: _plain(one.schema) for name, one in events.items()},
            "messages": messages,
        },
    }


def _channel(topic: Topic, messages: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: int(value) if value.isdecimal() else value for name, value in topic.config.items()
    }
    config["cleanup.policy"] = topic.config["cleanup.policy"].split(",")  # the binding wants a list
    return {
        "address": topic.name,
        "title": "Project keys",
        "description": "Records of one key are in one partition: murmur2 of the key, as Kafka's default is.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": config,
                "bindingVersion": _BINDING,
            }
        },
    }


def _operation(messages: Mapping[str, Any]) -> dict[str, Any]:
    channel = f"#/channels/{_CHANNEL}"
    return {
        "action": "send",
        "title": "Tell of every change of a key",
        "summary": "At least once, in order for each key, some milliseconds after the change is committed.",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in messages],
    }


def _event(one: Described) -> dict[str, Any]:
    example = described()[_HEADERS].example
    headers = example | {
        "ce_type": one.type,
        "ce_dataschema": one.urn,
        "ce_keyversion": str(one.example["version"]),
    }
    return _message(
        one.type,
        words=one.schema["description"],
        headers=_headers_schema(one.type, also=_OF_EVENTS, dataschema=one.urn),
        payload={"$ref": f"#/components/schemas/{one.name}"},
        key=_key_schema(),
        example={"headers": headers, "payload": one.example},
    )


def _tombstone() -> dict[str, Any]:
    deleted = "projectkey.deleted"
    example = described()[_HEADERS].example
    version = described()[f"{deleted}.1"].example["version"]
    needed = described()[_HEADERS].schema["required"]
    headers = {name: example[name] for name in needed} | {"ce_type": deleted, "ce_keyversion": str(version)}
    return _message(
        "tombstone",
        words=_TOMBSTONE,
        headers=_headers_schema(deleted),
        payload={"type": "null", "description": "No value at all."},
        key=_key_schema(),
        example={"headers": headers},
    )


def _mark(name: str, words: str) -> dict[str, Any]:
    headers = _headers_schema(f"projectkeys.{name}")
    headers["properties"] = {one: headers["properties"][one] for one in _OF_MARKS}
    headers["required"] = list(_OF_MARKS)
    return _message(
        name,
        words=words,
        headers=headers,
        payload={"description": "Of no meaning."},
        key={"type": "string", "const": f"_{name}"},
    )


def _message(
    name: str,
    *,
    words: str,
    headers: Mapping[str, Any],
    payload: Mapping[str, Any],
    key: Mapping[str, Any],
    example: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    examples = [] if example is None else [{"name": name, **example}]
    return {
        "name": name,
        "title": name,
        "description": words,
        "headers": headers,
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}},
        "examples": examples,
    }


def _headers_schema(kind: str, *, also: Sequence[str] = (), dataschema: str | None = None) -> dict[str, Any]:
    """The headers of records of one type; ``also`` are those that such a record cannot be without, too."""
    schema = _plain(described()[_HEADERS].schema)
    properties = schema["properties"] | {"ce_type": schema["properties"]["ce_type"] | {"const": kind}}
    if dataschema is not None:
        properties["ce_dataschema"] = properties["ce_dataschema"] | {"const": dataschema}
    return {**schema, "required": [*schema["required"], *also], "properties": properties}


def _key_schema() -> dict[str, Any]:
    # In place, not by reference: the official schema takes a reference for a schema as well, and then refuses it.
    of_key: dict[str, Any] = described()["projectkey.created.1"].schema["properties"]["id"]
    return {**of_key, "description": "The public key: 32 lower-case hex digits."}


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without what only a document of its own has; AsyncAPI's own dialect reads the rest alike."""
    return {name: value for name, value in schema.items() if name not in {"$schema", "$id"}}
