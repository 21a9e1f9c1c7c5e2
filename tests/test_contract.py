"""The events' schemas: each valid, each true of what is sent, each only ever added to."""

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
from service.contract.catalogue import Described, described
from service.domain.events import EventType
from tests.compatibility import breaks
from tests.conftest import MakeApi
from tests.events import header, reading

_RELEASES = Path(__file__).with_name("released_schemas")
_SCHEMAS = Path(__file__).parents[1] / "service" / "contract" / "schemas"
_CREATED = "projectkey.created.1"


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _last_release() -> Path:
    return max(
        (place for place in _RELEASES.iterdir() if place.is_dir()),
        key=lambda place: tuple(map(int, place.name.split("."))),
    )


@pytest.mark.parametrize("one", described().values(), ids=lambda one: one.name)
def test_every_schema_is_one_and_its_example_is_valid(one: Described) -> None:
    """By the rules of JSON Schema 2020-12; the example shows every member that a record cannot be without."""
    Draft202012Validator.check_schema(one.schema)
    assert one.schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    _validator(one.schema).validate(one.example)
    assert set(one.example) >= set(one.schema["required"])


def test_no_file_is_left_over() -> None:
    """Each is a schema or the example of one, and there is a schema for each type."""
    expected = {f"{name}{end}" for name in described() for end in (".json", ".example.json")}
    assert {file.name for file in _SCHEMAS.iterdir()} == expected
    assert {one.type for one in described().values()} == {*EventType, "headers"}


def test_a_schema_is_named_as_records_name_it() -> None:
    """The `$id` is type and major version, and so is the file's name."""
    for one in described().values():
        kind, _, major = one.name.rpartition(".")
        assert one.urn == f"urn:projectkeys:schema:{kind}:{major}"


def test_every_event_tells_the_same_state() -> None:
    """Whoever can read one type can read the others."""
    states = [one.schema for one in described().values() if one.type in set(EventType)]
    assert all(
        (state["properties"], state["required"]) == (states[0]["properties"], states[0]["required"])
        for state in states
    )


def test_an_example_that_lacks_a_member_or_has_a_wrong_one_is_refused() -> None:
    """The schemas are no formality."""
    one = described()[_CREATED]
    for name in one.schema["required"]:
        without = {member: value for member, value in one.example.items() if member != name}
        assert not _validator(one.schema).is_valid(without), name
        assert not _validator(one.schema).is_valid({**one.example, name: [1]}), name


async def test_the_records_that_are_sent_are_what_the_schemas_say(
    publishing_service: Service, make_api: MakeApi
) -> None:
    """Created, changed in every member, deleted: valued as promised, with no member that is not in the schema."""
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
        records = await reader.until(lambda seen: len({header(one, "ce_type") for one in seen}) == 3)
    events = [record for record in records if record.value is not None]
    assert [header(record, "ce_type") for record in events] == list(EventType)
    for version, record in enumerate(events, 1):
        _assert_promised(record, version)


def _assert_promised(record: ConsumerRecord, version: int) -> None:
    one = described()[f"{header(record, 'ce_type')}.1"]
    state = orjson.loads(record.value)
    _validator(one.schema).validate(state)
    assert set(state) == set(one.schema["properties"]), "nothing is sent that nobody was told of"
    assert state["version"] == version
    headers = {name: value.decode() for name, value in record.headers}
    assert headers["ce_dataschema"] == one.urn
    schema = described()["headers.1"].schema
    # The header is the value's member once more.
    _validator(schema).validate({"ce_keyversion": str(version), **headers})
    assert set(headers) <= set(schema["properties"]), "nothing is sent that nobody was told of"


def test_nothing_but_additions_since_the_last_release() -> None:
    """Every schema that was released is still there, and says what it said."""
    released = {file.stem: json.loads(file.read_text()) for file in _last_release().iterdir()}
    assert set(released) >= {f"{kind}.1" for kind in EventType}
    for name, schema in released.items():
        assert list(breaks(schema, described()[name].schema)) == [], name


def _remove_member(schema: Any) -> None:
    del schema["properties"]["name"]


def _remove_inner_member(schema: Any) -> None:
    del schema["properties"]["dsn"]["properties"]["public"]


def _require_a_new_member(schema: Any) -> None:
    schema["properties"]["shape"] = {"type": "string"}
    schema["required"].append("shape")


def _require_no_more(schema: Any) -> None:
    schema["required"].remove("isActive")


def _narrow_a_type(schema: Any) -> None:
    schema["properties"]["rateLimit"]["type"] = "object"


def _widen_a_type(schema: Any) -> None:
    schema["properties"]["name"]["type"] = ["string", "null"]


def _change_a_type(schema: Any) -> None:
    schema["properties"]["projectId"]["type"] = "string"


def _remove_a_choice(schema: Any) -> None:
    schema["properties"]["colour"]["enum"].remove("red")


def _narrow_a_bound(schema: Any) -> None:
    schema["properties"]["version"]["minimum"] = 2


def _bound_what_was_free(schema: Any) -> None:
    schema["properties"]["name"]["pattern"] = "^.+$"


def _use_a_word_nobody_compares(schema: Any) -> None:
    schema["properties"]["name"]["maxLength"] = 64


def _hide_it_in_a_new_member(schema: Any) -> None:
    schema["properties"]["more"] = {"not": {}}


_BREAKS: list[tuple[Callable[[Any], None], str]] = [
    (_remove_member, r"\$\.name is gone"),
    (_remove_inner_member, r"\$\.dsn\.public is gone"),
    (_require_a_new_member, r"\$\.shape is required now"),
    (_require_no_more, r"\$\.isActive is not required any more"),
    (_narrow_a_type, r"\$\.rateLimit: type was"),
    (_widen_a_type, r"\$\.name: type was"),
    (_change_a_type, r"\$\.projectId: type was"),
    (_remove_a_choice, r"\$\.colour: enum was"),
    (_narrow_a_bound, r"\$\.version: minimum was"),
    (_bound_what_was_free, r"\$\.name: pattern was"),
    (_use_a_word_nobody_compares, r"\$\.name: maxLength is a word"),
    (_hide_it_in_a_new_member, r"\$\.more: not is a word"),
]


def _with_a_choice() -> Any:
    schema = copy.deepcopy(described()[_CREATED].schema)
    schema["properties"]["colour"] = {"type": "string", "enum": ["red", "blue"]}
    return schema


@pytest.mark.parametrize(("change", "words"), _BREAKS, ids=lambda given: getattr(given, "__name__", ""))
def test_a_change_that_breaks_readers_is_found(change: Callable[[Any], None], words: str) -> None:
    """Whatever is done to a schema but for an addition; and nothing else is blamed."""
    released, now = _with_a_choice(), _with_a_choice()
    change(now)
    found = list(breaks(released, now))
    assert found
    assert all(re.match(words, sentence) for sentence in found), found


def test_an_addition_is_allowed() -> None:
    """A new optional member, also within another one, and other descriptions."""
    released, now = _with_a_choice(), _with_a_choice()
    now["properties"]["shape"] = {"type": "string", "enum": ["round"]}
    now["properties"]["dsn"]["properties"]["csp"] = {"type": "string"}
    now["properties"]["name"]["description"] = "Now told better."
    assert list(breaks(released, now)) == []
