"""The events' JSON Schemas: valid, equal to the published records, and compatible with released versions."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord
from jsonschema import Draft202012Validator

from service.app import Service
from service.domain.events import EventType
from testkit.event_schemas import EventSchema, event_schemas
from tests.compatibility import incompatibilities
from tests.conftest import MakeApi
from tests.events import header, reading

_RELEASES = Path(__file__).with_name("released_schemas")
_SCHEMAS = Path(__file__).parents[1] / "service" / "contract" / "schemas"
_CREATED = "projectkey.created.1"


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _last_release() -> Path:
    return max(
        (directory for directory in _RELEASES.iterdir() if directory.is_dir()),
        key=lambda directory: tuple(map(int, directory.name.split("."))),
    )


@pytest.mark.parametrize("schema", event_schemas().values(), ids=lambda schema: schema.name)
def test_every_schema_and_its_example_are_valid(schema: EventSchema) -> None:
    """By JSON Schema 2020-12; the example has every required member."""
    Draft202012Validator.check_schema(schema.schema)
    assert schema.schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    _validator(schema.schema).validate(schema.example)
    assert set(schema.example) >= set(schema.schema["required"])


def test_every_file_is_a_schema_or_an_example() -> None:
    """There is a schema for each event type."""
    expected = {f"{name}{end}" for name in event_schemas() for end in (".json", ".example.json")}
    assert {file.name for file in _SCHEMAS.iterdir()} == expected
    assert {schema.type for schema in event_schemas().values()} == {*EventType, "headers"}


def test_the_id_of_a_schema_has_its_type_and_major_version() -> None:
    """The name of the file as well."""
    for schema in event_schemas().values():
        type_, _, major = schema.name.rpartition(".")
        assert schema.urn == f"urn:projectkeys:schema:{type_}:{major}"


def test_all_event_types_have_the_same_members() -> None:
    """A consumer reads the value of each type in the same way."""
    states = [schema.schema for schema in event_schemas().values() if schema.type in set(EventType)]
    assert all(
        (state["properties"], state["required"]) == (states[0]["properties"], states[0]["required"])
        for state in states
    )


def test_a_schema_rejects_a_missing_member_and_a_wrong_type() -> None:
    """For each required member."""
    created = event_schemas()[_CREATED]
    for name in created.schema["required"]:
        without = {member: value for member, value in created.example.items() if member != name}
        assert not _validator(created.schema).is_valid(without), name
        assert not _validator(created.schema).is_valid({**created.example, name: [1]}), name


async def test_published_records_are_valid_by_the_schemas(publishing_service: Service, make_api: MakeApi) -> None:
    """A key that is created, updated in every member and deleted; no record has an undocumented member."""
    settings = publishing_service.settings
    async with reading(settings.kafka_bootstrap_servers[0], settings.kafka_topic) as reader:
        api = await make_api(publishing_service)
        key = (await (await api.create({"name": "Ключ \u2028 🗝"})).json())["id"]
        change = {
            "name": "x" * 64,
            "isActive": False,
            "rateLimit": {"window": 86400, "count": 2147483647},
            "browserSdkVersion": "latest",
            "dynamicSdkLoaderOptions": {"hasDebug": True},
        }
        path = f"{api.keys_path}{key}/"
        headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        assert (await api.request("PUT", path, json=change, headers=headers)).status == 200
        assert (await api.request("DELETE", path)).status == 204
        records = await reader.until(lambda seen: len({header(record, "ce_type") for record in seen}) == 3)
    events = [record for record in records if record.value is not None]
    assert [header(record, "ce_type") for record in events] == list(EventType)
    for version, record in enumerate(events, 1):
        _assert_valid(record, version)


def _assert_valid(record: ConsumerRecord, version: int) -> None:
    event_schema = event_schemas()[f"{header(record, 'ce_type')}.1"]
    state = orjson.loads(record.value)
    _validator(event_schema.schema).validate(state)
    assert set(state) == set(event_schema.schema["properties"]), "no member is undocumented"
    assert state["version"] == version
    headers = {name: value.decode() for name, value in record.headers}
    assert headers["ce_dataschema"] == event_schema.urn
    schema = event_schemas()["headers.1"].schema
    # A record with a value has its version in the value, and may omit the header.
    _validator(schema).validate({"ce_keyversion": str(version), **headers})
    assert set(headers) <= set(schema["properties"]), "no header is undocumented"


def test_schemas_are_compatible_with_the_last_release() -> None:
    """Every released schema exists and has only additions."""
    released = {file.stem: json.loads(file.read_text()) for file in _last_release().iterdir()}
    assert set(released) >= {f"{kind}.1" for kind in EventType}
    for name, schema in released.items():
        assert list(incompatibilities(schema, event_schemas()[name].schema)) == [], name


def _remove_member(schema: Any) -> None:
    del schema["properties"]["name"]


def _remove_inner_member(schema: Any) -> None:
    del schema["properties"]["dsn"]["properties"]["public"]


def _require_a_new_member(schema: Any) -> None:
    schema["properties"]["shape"] = {"type": "string"}
    schema["required"].append("shape")


def _make_optional(schema: Any) -> None:
    schema["required"].remove("isActive")


def _narrow_a_type(schema: Any) -> None:
    schema["properties"]["rateLimit"]["type"] = "object"


def _widen_a_type(schema: Any) -> None:
    schema["properties"]["name"]["type"] = ["string", "null"]


def _change_a_type(schema: Any) -> None:
    schema["properties"]["projectId"]["type"] = "string"


def _remove_an_enum_value(schema: Any) -> None:
    schema["properties"]["colour"]["enum"].remove("red")


def _raise_a_minimum(schema: Any) -> None:
    schema["properties"]["version"]["minimum"] = 2


def _add_a_pattern(schema: Any) -> None:
    schema["properties"]["name"]["pattern"] = "^.+$"


def _use_an_unsupported_keyword(schema: Any) -> None:
    schema["properties"]["name"]["maxLength"] = 64


def _use_an_unsupported_keyword_in_a_new_member(schema: Any) -> None:
    schema["properties"]["more"] = {"not": {}}


_INCOMPATIBLE: list[tuple[Callable[[Any], None], str]] = [
    (_remove_member, r"\$\.name was removed"),
    (_remove_inner_member, r"\$\.dsn\.public was removed"),
    (_require_a_new_member, r"\$\.shape is required:"),
    (_make_optional, r"\$\.isActive is no longer required"),
    (_narrow_a_type, r"\$\.rateLimit: type was"),
    (_widen_a_type, r"\$\.name: type was"),
    (_change_a_type, r"\$\.projectId: type was"),
    (_remove_an_enum_value, r"\$\.colour: enum was"),
    (_raise_a_minimum, r"\$\.version: minimum was"),
    (_add_a_pattern, r"\$\.name: pattern was"),
    (_use_an_unsupported_keyword, r"\$\.name: maxLength is a keyword"),
    (_use_an_unsupported_keyword_in_a_new_member, r"\$\.more: not is a keyword"),
]


def _schema_with_an_enum() -> Any:
    schema = copy.deepcopy(event_schemas()[_CREATED].schema)
    schema["properties"]["colour"] = {"type": "string", "enum": ["red", "blue"]}
    return schema


@pytest.mark.parametrize(("change", "message"), _INCOMPATIBLE, ids=lambda value: getattr(value, "__name__", ""))
def test_an_incompatible_change_is_found(change: Callable[[Any], None], message: str) -> None:
    """No other change is reported."""
    released, current = _schema_with_an_enum(), _schema_with_an_enum()
    change(current)
    found = list(incompatibilities(released, current))
    assert found
    assert all(re.match(message, sentence) for sentence in found), found


def test_an_addition_is_compatible() -> None:
    """A new optional member, also in a nested object, and another description."""
    released, current = _schema_with_an_enum(), _schema_with_an_enum()
    current["properties"]["shape"] = {"type": "string", "enum": ["round"]}
    current["properties"]["dsn"]["properties"]["csp"] = {"type": "string"}
    current["properties"]["name"]["description"] = "A better description."
    assert list(incompatibilities(released, current)) == []
