"""The AsyncAPI 3.0 document of the topic, built from the JSON Schemas of the events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.contract.catalogue import EventSchema, event_schemas

_HEADERS: Final = "headers.1"
_CHANNEL: Final = "project-keys"
_BINDING: Final = "0.5.0"
"""The version of AsyncAPI's Kafka bindings."""

_DESCRIPTION: Final = """\
All changes of client keys (DSNs). The topic is compacted: a consumer that reads it from the beginning receives the \
current state of every key, and then each change.

- Apply an event only if its version is newer than the stored one: after a failure an event can be delivered twice, \
with the same `ce_id` and the same bytes.
- The events of one key are in the order of their versions. There is no order between keys.
- Ignore unknown types, members and headers, and records whose key begins with `_`.
- A deletion is published as an event, which consumers apply, and then as a tombstone, so that compaction removes \
the key.
- Within a major version of a schema there are only additions. `ce_dataschema` is \
`urn:projectkeys:schema:TYPE:MAJOR`; `GET /api/0/event-schemas/TYPE.MAJOR.json` returns the schema.
"""
_TOMBSTONE: Final = """\
The key was deleted. The record has no value, so that compaction removes earlier records of the key. `ce_keyversion` \
is the version of the deletion. A deletion that is republished is a tombstone only.\
"""
_FENCE: Final = (
    "The partition has a new producer; Kafka rejects later records of earlier producers. Consumers ignore it."
)
_HEARTBEAT: Final = (
    "The producer of the partition is running. Consumers use only the timestamp of the record."
)

_EVENT_HEADERS: Final = ("ce_dataschema", "ce_partitionkey", "ce_sequence", "content-type")
"""The headers that only records of events with a value have."""

_CONTROL_HEADERS: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time")
"""The headers of control records."""


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic as the service creates it; ``config`` is its Kafka configuration, with all values as text."""

    name: str
    partitions: int
    config: Mapping[str, str]


def asyncapi_document(topic: Topic, *, version: str) -> dict[str, Any]:
    """Return the document, a JSON object.

    Args:
        topic: The topic of the events.
        version: The version of the service.
    """
    schemas = {name: schema for name, schema in event_schemas().items() if name != _HEADERS}
    messages = _messages(schemas.values())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "projectkeys events",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_CHANNEL: _channel(topic, messages)},
        "operations": {"publishKeyEvents": _operation(messages)},
        "components": {
            "schemas": {name: _embedded(schema.schema) for name, schema in schemas.items()},
            "messages": messages,
        },
    }


def _messages(schemas: Iterable[EventSchema]) -> dict[str, Any]:
    return {schema.type: _event(schema) for schema in schemas} | {
        "tombstone": _tombstone(),
        "fence": _control_record("fence", _FENCE),
        "heartbeat": _control_record("heartbeat", _HEARTBEAT),
    }


def _channel(topic: Topic, messages: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: int(value) if value.isdecimal() else value for name, value in topic.config.items()
    }
    config["cleanup.policy"] = topic.config["cleanup.policy"].split(",")  # a list in AsyncAPI's binding
    return {
        "address": topic.name,
        "title": "Project keys",
        "description": "The partition of a record is the murmur2 hash of its key, Kafka's default, so that all "
        "records of a key are in one partition.",
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
        "title": "Publish key events",
        "summary": "Each change is published at least once, in order per key, some milliseconds after its commit.",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in messages],
    }


def _event(schema: EventSchema) -> dict[str, Any]:
    headers = event_schemas()[_HEADERS].example | {
        "ce_type": schema.type,
        "ce_dataschema": schema.urn,
        "ce_keyversion": str(schema.example["version"]),
    }
    return _message(
        schema.type,
        description=schema.schema["description"],
        headers=_headers_schema(schema.type, also_required=_EVENT_HEADERS, dataschema=schema.urn),
        payload={"$ref": f"#/components/schemas/{schema.name}"},
        key=_key_schema(),
        example={"headers": headers, "payload": schema.example},
    )


def _tombstone() -> dict[str, Any]:
    deleted = "projectkey.deleted"
    example = event_schemas()[_HEADERS].example
    version = event_schemas()[f"{deleted}.1"].example["version"]
    required = event_schemas()[_HEADERS].schema["required"]
    headers = {name: example[name] for name in required} | {"ce_type": deleted, "ce_keyversion": str(version)}
    return _message(
        "tombstone",
        description=_TOMBSTONE,
        headers=_headers_schema(deleted),
        payload={"type": "null", "description": "No value."},
        key=_key_schema(),
        example={"headers": headers},
    )


def _control_record(name: str, description: str) -> dict[str, Any]:
    headers = _headers_schema(f"projectkeys.{name}")
    headers["properties"] = {header: headers["properties"][header] for header in _CONTROL_HEADERS}
    headers["required"] = list(_CONTROL_HEADERS)
    return _message(
        name,
        description=description,
        headers=headers,
        payload={"description": "Unspecified."},
        key={"type": "string", "const": f"_{name}"},
    )


def _message(
    name: str,
    *,
    description: str,
    headers: Mapping[str, Any],
    payload: Mapping[str, Any],
    key: Mapping[str, Any],
    example: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    examples = [] if example is None else [{"name": name, **example}]
    return {
        "name": name,
        "title": name,
        "description": description,
        "headers": headers,
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}},
        "examples": examples,
    }


def _headers_schema(
    type_: str, *, also_required: Sequence[str] = (), dataschema: str | None = None
) -> dict[str, Any]:
    """Return the schema of the headers of records of one type, whose ``ce_type`` and ``dataschema`` are constants."""
    schema = _embedded(event_schemas()[_HEADERS].schema)
    properties = schema["properties"] | {"ce_type": schema["properties"]["ce_type"] | {"const": type_}}
    if dataschema is not None:
        properties["ce_dataschema"] = properties["ce_dataschema"] | {"const": dataschema}
    return {**schema, "required": [*schema["required"], *also_required], "properties": properties}


def _key_schema() -> dict[str, Any]:
    # Inline, because AsyncAPI's official schema rejects a reference here.
    public_key: dict[str, Any] = event_schemas()["projectkey.created.1"].schema["properties"]["id"]
    return {**public_key, "description": "The public key: 32 lower-case hex digits."}


def _embedded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without the keywords that are allowed only in a separate document."""
    return {name: value for name, value in schema.items() if name not in {"$schema", "$id"}}
