"""Changing a key: valid bodies, unchanged members, and errors."""

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


async def _new_key(site: Site, body: Any) -> tuple[str, dict[str, Any]]:
    response = await site.create(body)
    assert response.status == 201
    return f"{site.keys_path}{response.body['id']}/", response.body


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        pytest.param({"name": "Second"}, {"name": "Second", "label": "Second"}, id="a name"),
        pytest.param({"name": "  Second\n"}, {"name": "Second", "label": "Second"}, id="a name is trimmed"),
        pytest.param({"name": 5}, {"name": "5", "label": "5"}, id="a number as a name"),
        pytest.param({"name": "x" * 64}, {"name": "x" * 64, "label": "x" * 64}, id="64 characters"),
        pytest.param({"isActive": False}, {"isActive": False}, id="off"),
        pytest.param({"isActive": "no"}, {"isActive": False}, id="off as a word"),
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
        pytest.param({"browserSdkVersion": "5.x"}, {"browserSdkVersion": "5.x"}, id="an old version"),
        pytest.param({"browserSdkVersion": "latest"}, {"browserSdkVersion": "latest"}, id="the latest"),
        pytest.param(
            {"dynamicSdkLoaderOptions": {"hasDebug": "yes", "hasReplay": 0, "other": "x"}},
            {"dynamicSdkLoaderOptions": {**OPTIONS, "hasDebug": True, "hasReplay": False}},
            id="some of the options",
        ),
        pytest.param(
            {"isActive": False, "name": "Second", "rateLimit": {"window": 5, "count": 6}, "secret": "b" * 32},
            {"isActive": False, "name": "Second", "label": "Second", "rateLimit": {"window": 5, "count": 6}},
            id="several members",
        ),
    ],
)
async def test_only_the_members_of_the_body_change(site: Site, body: Any, changed: dict[str, Any]) -> None:
    """200 with the changed key, as a read returns it; one event with the next version."""
    path, before = await _new_key(site, LIMITED)
    response = await site.send("PUT", path, json=body)
    assert (response.status, response.body) == (200, {**before, **changed})
    assert (await site.send("GET", path)).raw == response.raw
    rows = await site.postgres.fetch(
        "SELECT id, type, version FROM outbox WHERE aggregateid = $1 ORDER BY seq", before["id"]
    )
    assert [(row["type"], row["version"]) for row in rows] == [
        ("projectkey.created", 1),
        ("projectkey.updated", 2),
    ]
    assert response.headers["Event-Id"] == str(rows[1]["id"])
    assert response.headers["Event-Status"] == "pending"


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
        pytest.param(b'{"secret":1,"useCase":[],"id":{},"unknown":null}', id="ignored members"),
    ],
)
async def test_a_change_without_effect_is_audited_and_has_no_event(site: Site, raw: bytes) -> None:
    """200 with the same key; consumers receive nothing."""
    path, before = await _new_key(site, LIMITED)
    rows = await stored(site)
    response = await site.send("PUT", path, data=raw, headers={"Content-Type": "application/json"})
    assert (response.status, response.body) == (200, before)
    assert (response.headers.get("Event-Id"), response.headers["Event-Status"]) == (None, "unchanged")
    assert await stored(site) == {**rows, "audit_entries": rows["audit_entries"] + 1}


@pytest.mark.parametrize(
    ("value", "active"), [*((value, True) for value in TRUE), *((value, False) for value in FALSE)]
)
async def test_a_boolean_has_many_forms(site: Site, value: Any, *, active: bool) -> None:
    """Words in any case, numbers and JSON booleans."""
    path, _ = await _new_key(site, {})
    response = await site.send("PUT", path, json={"isActive": value})
    assert (response.status, response.body["isActive"]) == (200, active)


def _invalid(kind: str) -> dict[str, Any]:
    return {"rateLimit": {"non_field_errors": [NOT_A_DICTIONARY.format(kind)]}}


INVALID: list[tuple[Any, Any]] = [
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
"""Bodies and their errors: one response contains all of them."""


@pytest.mark.parametrize(("body", "errors"), INVALID, ids=lambda value: repr(value)[:60])
async def test_an_invalid_change_reports_every_error_and_changes_nothing(site: Site, body: Any, errors: Any) -> None:
    """400; valid members are not applied either."""
    path, before = await _new_key(site, LIMITED)
    async with storing_nothing(site):
        response = await site.send("PUT", path, json=body)
    assert (response.status, response.body) == (400, errors)
    assert (await site.send("GET", path)).body == before


async def test_null_is_not_a_valid_body(site: Site) -> None:
    """It is neither an object nor empty."""
    path, _ = await _new_key(site, {})
    response = await site.send("PUT", path, data=b"null", headers={"Content-Type": "application/json"})
    assert (response.status, response.body) == (400, {"non_field_errors": ["No data provided"]})


async def test_an_unknown_key_is_404_before_the_body_is_read(site: Site) -> None:
    """Also if the body is invalid."""
    async with storing_nothing(site):
        response = await site.send("PUT", f"{site.keys_path}{'0' * 32}/", data=b"{bad")
    assert (response.status, response.body) == (404, NOT_FOUND)


async def test_options_are_merged_into_the_current_ones(site: Site) -> None:
    """Earlier changes are kept."""
    path, _ = await _new_key(site, {"dynamicSdkLoaderOptions": {"hasReplay": False}})
    await site.send("PUT", path, json={"dynamicSdkLoaderOptions": {"hasFeedback": True}})
    response = await site.send("PUT", path, json={"dynamicSdkLoaderOptions": {"hasDebug": True}})
    expected = {**OPTIONS, "hasReplay": False, "hasFeedback": True, "hasDebug": True}
    assert response.body["dynamicSdkLoaderOptions"] == expected


async def test_concurrent_changes_are_all_kept_and_have_consecutive_versions(site: Site) -> None:
    """Each has its own version, and none overwrites members that it does not contain."""
    path, created = await _new_key(site, {})
    names = [{"name": f"n{number}"} for number in range(20)]
    limits = [{"rateLimit": {"window": 1, "count": number}} for number in range(1, 21)]
    responses = await asyncio.gather(*(site.send("PUT", path, json=body) for body in [*names, *limits]))
    assert {response.status for response in responses} == {200}
    versions = await site.postgres.fetch(
        "SELECT version FROM outbox WHERE aggregateid = $1 ORDER BY seq", created["id"]
    )
    assert [row["version"] for row in versions] == list(range(1, 42))
    key = (await site.send("GET", path)).body
    assert {"name": key["name"]} in names
    assert {"rateLimit": key["rateLimit"]} in limits
