"""Changing a key: what a body may say, what stays as it is, and what is refused."""

import asyncio
from typing import Any

import pytest

from tests.http_service import NOT_FOUND, Site, stored, storing_nothing

REQUIRED = "This field is required."
NULL = "This field may not be null."
INTEGER = "A valid integer is required."
AT_LEAST = "Ensure this value is greater than or equal to {}."
AT_MOST = "Ensure this value is less than or equal to {}."
NOT_A_DICTIONARY = "Invalid data. Expected a dictionary, but got {}."
BOOLEAN = "Must be a valid boolean."
LIMITED = {"name": "First", "rateLimit": {"window": 60, "count": 10}}
OPTIONS = {
    "hasReplay": True,
    "hasPerformance": True,
    "hasDebug": False,
    "hasFeedback": False,
    "hasLogsAndMetrics": False,
}
TRUE = [True, 1, 1.0, "true", "TRUE", "t", "T", "yes", "y", "on", "On", "1"]
FALSE = [False, 0, 0.0, "false", "False", "f", "F", "no", "n", "off", "OFF", "0"]


async def _made(site: Site, body: Any) -> tuple[str, dict[str, Any]]:
    answer = await site.create(body)
    assert answer.status == 201
    return f"{site.keys_path}{answer.body['id']}/", answer.body


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        pytest.param({"name": "Second"}, {"name": "Second", "label": "Second"}, id="a name"),
        pytest.param({"name": "  Second\n"}, {"name": "Second", "label": "Second"}, id="a name is trimmed"),
        pytest.param({"name": 5}, {"name": "5", "label": "5"}, id="a number as a name"),
        pytest.param({"name": "x" * 64}, {"name": "x" * 64, "label": "x" * 64}, id="64 characters"),
        pytest.param({"isActive": False}, {"isActive": False}, id="off"),
        pytest.param({"isActive": "no"}, {"isActive": False}, id="off in a word"),
        pytest.param({"rateLimit": None}, {"rateLimit": None}, id="no limit"),
        pytest.param({"rateLimit": {"window": 300, "count": ""}}, {"rateLimit": None}, id="an empty count"),
        pytest.param({"rateLimit": {"window": None, "count": 5}}, {"rateLimit": None}, id="a window of null"),
        pytest.param({"rateLimit": {"window": 0, "count": 0}}, {"rateLimit": None}, id="zero twice"),
        pytest.param({"rateLimit": {"window": 0, "count": 5}}, {"rateLimit": None}, id="a window of zero"),
        pytest.param(
            {"rateLimit": {"window": 1, "count": 2}}, {"rateLimit": {"window": 1, "count": 2}}, id="a limit"
        ),
        pytest.param(
            {"rateLimit": {"window": "86400", "count": 2147483647}},
            {"rateLimit": {"window": 86400, "count": 2147483647}},
            id="the greatest limit",
        ),
        pytest.param({"browserSdkVersion": "5.x"}, {"browserSdkVersion": "5.x"}, id="a version of old"),
        pytest.param({"browserSdkVersion": "latest"}, {"browserSdkVersion": "latest"}, id="the latest"),
        pytest.param(
            {"dynamicSdkLoaderOptions": {"hasDebug": "yes", "hasReplay": 0, "other": "x"}},
            {"dynamicSdkLoaderOptions": {**OPTIONS, "hasDebug": True, "hasReplay": False}},
            id="some of the options",
        ),
        pytest.param(
            {"isActive": False, "name": "Second", "rateLimit": {"window": 5, "count": 6}, "secret": "b" * 32},
            {"isActive": False, "name": "Second", "label": "Second", "rateLimit": {"window": 5, "count": 6}},
            id="several at once",
        ),
    ],
)
async def test_only_what_is_named_changes(site: Site, said: Any, changed: dict[str, Any]) -> None:
    """200 with the key as it is then, which a read tells too; one event, in the next version."""
    path, before = await _made(site, LIMITED)
    answer = await site.send("PUT", path, json=said)
    assert (answer.status, answer.body) == (200, {**before, **changed})
    assert (await site.send("GET", path)).raw == answer.raw
    rows = await site.postgres.fetch(
        "SELECT id, type, version FROM outbox WHERE aggregateid = $1 ORDER BY seq", before["id"]
    )
    assert [(row["type"], row["version"]) for row in rows] == [
        ("projectkey.created", 1),
        ("projectkey.updated", 2),
    ]
    assert answer.headers["Event-Id"] == str(rows[1]["id"])
    assert answer.headers["Event-Status"] == "pending"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="no body"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"name":null}', id="a name of null"),
        pytest.param(b'{"name":""}', id="an empty name"),
        pytest.param(b'{"name":"  "}', id="a blank name"),
        pytest.param(b'{"name":"First"}', id="the name that it has"),
        pytest.param(b'{"rateLimit":{}}', id="an empty limit"),
        pytest.param(b'{"rateLimit":{"other":1}}', id="a limit of unknown members"),
        pytest.param(b'{"rateLimit":{"count":10,"window":60}}', id="the limit that it has"),
        pytest.param(b'{"isActive":true}', id="on, which it is"),
        pytest.param(b'{"dynamicSdkLoaderOptions":{}}', id="no options"),
        pytest.param(b'{"dynamicSdkLoaderOptions":null}', id="options of null"),
        pytest.param(b'{"dynamicSdkLoaderOptions":[]}', id="a list of no options"),
        pytest.param(b'{"dynamicSdkLoaderOptions":"hasReplay"}', id="options as a text"),
        pytest.param(b'{"dynamicSdkLoaderOptions":{"other":"zz"}}', id="unknown options"),
        pytest.param(b'{"dynamicSdkLoaderOptions":{"hasReplay":true}}', id="an option as it is"),
        pytest.param(b'{"public":"%s"}' % (b"a" * 32), id="a public half"),
        pytest.param(b'{"secret":1,"useCase":[],"id":{},"unknown":null}', id="what is not looked at"),
    ],
)
async def test_a_change_that_changes_nothing_is_audited_and_makes_no_event(site: Site, raw: bytes) -> None:
    """200 with the same key; consumers are told nothing."""
    path, before = await _made(site, LIMITED)
    rows = await stored(site)
    answer = await site.send("PUT", path, data=raw, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body) == (200, before)
    assert (answer.headers.get("Event-Id"), answer.headers["Event-Status"]) == (None, "unchanged")
    assert await stored(site) == {**rows, "audit_entries": rows["audit_entries"] + 1}


@pytest.mark.parametrize(
    ("word", "active"), [*((one, True) for one in TRUE), *((one, False) for one in FALSE)]
)
async def test_a_switch_has_many_words(site: Site, word: Any, *, active: bool) -> None:
    """In any case, as numbers and as JSON's own."""
    path, _ = await _made(site, {})
    answer = await site.send("PUT", path, json={"isActive": word})
    assert (answer.status, answer.body["isActive"]) == (200, active)


def _invalid(kind: str) -> dict[str, Any]:
    return {"rateLimit": {"non_field_errors": [NOT_A_DICTIONARY.format(kind)]}}


REFUSED: list[tuple[Any, Any]] = [
    ({"name": "x" * 65}, {"name": ["Ensure this field has no more than 64 characters."]}),
    ({"name": True}, {"name": ["Not a valid string."]}),
    ({"name": []}, {"name": ["Not a valid string."]}),
    ({"name": {}}, {"name": ["Not a valid string."]}),
    ({"name": "a\x00b"}, {"name": ["Null characters are not allowed."]}),
    ({"isActive": "zzz"}, {"isActive": [BOOLEAN]}),
    ({"isActive": 2}, {"isActive": [BOOLEAN]}),
    ({"isActive": ""}, {"isActive": [BOOLEAN]}),
    ({"isActive": []}, {"isActive": [BOOLEAN]}),
    ({"isActive": {}}, {"isActive": [BOOLEAN]}),
    ({"isActive": None}, {"isActive": [NULL]}),
    ({"rateLimit": 5}, _invalid("int")),
    ({"rateLimit": "x"}, _invalid("str")),
    ({"rateLimit": []}, _invalid("list")),
    ({"rateLimit": True}, _invalid("bool")),
    ({"rateLimit": 1.5}, _invalid("float")),
    ({"rateLimit": {"count": 1}}, {"rateLimit": {"window": [REQUIRED]}}),
    ({"rateLimit": {"window": 1}}, {"rateLimit": {"count": [REQUIRED]}}),
    ({"rateLimit": {"window": 1, "other": 1}}, {"rateLimit": {"count": [REQUIRED]}}),
    ({"rateLimit": {"window": 60, "count": -1}}, {"rateLimit": {"count": [AT_LEAST.format(0)]}}),
    ({"rateLimit": {"window": -1, "count": 1}}, {"rateLimit": {"window": [AT_LEAST.format(0)]}}),
    ({"rateLimit": {"window": 86401, "count": 1}}, {"rateLimit": {"window": [AT_MOST.format(86400)]}}),
    ({"rateLimit": {"window": 60, "count": 2147483648}}, {"rateLimit": {"count": [AT_MOST.format(2147483647)]}}),
    ({"rateLimit": {"window": "a", "count": 1.5}}, {"rateLimit": {"window": [INTEGER], "count": [INTEGER]}}),
    ({"rateLimit": {"window": True, "count": []}}, {"rateLimit": {"window": [INTEGER], "count": [INTEGER]}}),
    ({"rateLimit": {"window": {}, "count": "1e3"}}, {"rateLimit": {"window": [INTEGER], "count": [INTEGER]}}),
    ({"rateLimit": {"window": "1" * 1001, "count": 1}}, {"rateLimit": {"window": ["String value too large."]}}),
    ({"browserSdkVersion": "zz"}, {"browserSdkVersion": ['"zz" is not a valid choice.']}),
    ({"browserSdkVersion": ""}, {"browserSdkVersion": ['"" is not a valid choice.']}),
    ({"browserSdkVersion": 7}, {"browserSdkVersion": ['"7" is not a valid choice.']}),
    ({"browserSdkVersion": None}, {"browserSdkVersion": [NULL]}),
    ({"dynamicSdkLoaderOptions": {"hasReplay": "invalid"}}, {"dynamicSdkLoaderOptions": {"hasReplay": [BOOLEAN]}}),
    ({"dynamicSdkLoaderOptions": {"hasReplay": None}}, {"dynamicSdkLoaderOptions": {"hasReplay": [NULL]}}),
    (
        {"dynamicSdkLoaderOptions": {"hasDebug": 2, "hasReplay": False, "hasFeedback": "?"}},
        {"dynamicSdkLoaderOptions": {"hasDebug": [BOOLEAN], "hasFeedback": [BOOLEAN]}},
    ),
    ({"dynamicSdkLoaderOptions": 5}, {"dynamicSdkLoaderOptions": [NOT_A_DICTIONARY.format("int")]}),
    ({"dynamicSdkLoaderOptions": True}, {"dynamicSdkLoaderOptions": [NOT_A_DICTIONARY.format("bool")]}),
    ({"dynamicSdkLoaderOptions": ["hasReplay"]}, {"dynamicSdkLoaderOptions": [NOT_A_DICTIONARY.format("list")]}),
    ([], {"non_field_errors": [NOT_A_DICTIONARY.format("list")]}),
    ("x", {"non_field_errors": [NOT_A_DICTIONARY.format("str")]}),
    (5, {"non_field_errors": [NOT_A_DICTIONARY.format("int")]}),
    (True, {"non_field_errors": [NOT_A_DICTIONARY.format("bool")]}),
    (
        {"name": "Second", "isActive": "zzz", "rateLimit": {"window": "a", "count": 1}},
        {"isActive": [BOOLEAN], "rateLimit": {"window": [INTEGER]}},
    ),
]  # fmt: skip
"""Bodies and what is said of them: every mistake at once."""


@pytest.mark.parametrize(("said", "refusal"), REFUSED, ids=lambda value: repr(value)[:60])
async def test_a_refused_change_names_every_mistake_and_changes_nothing(
    site: Site, said: Any, refusal: Any
) -> None:
    """400, and not even what was right is done."""
    path, before = await _made(site, LIMITED)
    async with storing_nothing(site):
        answer = await site.send("PUT", path, json=said)
    assert (answer.status, answer.body) == (400, refusal)
    assert (await site.send("GET", path)).body == before


async def test_null_is_no_body(site: Site) -> None:
    """Neither an object nor nothing."""
    path, _ = await _made(site, {})
    answer = await site.send("PUT", path, data=b"null", headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body) == (400, {"non_field_errors": ["No data provided"]})


async def test_a_key_that_is_not_there_is_told_before_its_body_is_read(site: Site) -> None:
    """Also where the body is none."""
    async with storing_nothing(site):
        answer = await site.send("PUT", f"{site.keys_path}{'0' * 32}/", data=b"{bad")
    assert (answer.status, answer.body) == (404, NOT_FOUND)


async def test_options_are_merged_into_what_stands(site: Site) -> None:
    """What an earlier change said stays."""
    path, _ = await _made(site, {"dynamicSdkLoaderOptions": {"hasReplay": False}})
    await site.send("PUT", path, json={"dynamicSdkLoaderOptions": {"hasFeedback": True}})
    answer = await site.send("PUT", path, json={"dynamicSdkLoaderOptions": {"hasDebug": True}})
    expected = {**OPTIONS, "hasReplay": False, "hasFeedback": True, "hasDebug": True}
    assert answer.body["dynamicSdkLoaderOptions"] == expected


async def test_changes_at_once_are_all_kept_and_counted_without_a_gap(site: Site) -> None:
    """Each is a version of its own, and what one names no other overwrites."""
    path, made = await _made(site, {})
    names = [{"name": f"n{number}"} for number in range(20)]
    limits = [{"rateLimit": {"window": 1, "count": number}} for number in range(1, 21)]
    answers = await asyncio.gather(*(site.send("PUT", path, json=said) for said in [*names, *limits]))
    assert {answer.status for answer in answers} == {200}
    versions = await site.postgres.fetch(
        "SELECT version FROM outbox WHERE aggregateid = $1 ORDER BY seq", made["id"]
    )
    assert [row["version"] for row in versions] == list(range(1, 42))
    key = (await site.send("GET", path)).body
    assert {"name": key["name"]} in names
    assert {"rateLimit": key["rateLimit"]} in limits
