"""Creating keys: valid bodies, and the defaults of absent members."""

import asyncio
import re
from typing import Any

import pytest

from tests.http_service import Site, stored, storing_nothing, with_more_keys

HEX = re.compile(r"[0-9a-f]{32}")
TWO_WORDS = re.compile(r"[A-Z][a-z]{0,9} [A-Z][a-z]{0,9}")
DEFAULT_OPTIONS = {
    "hasReplay": True,
    "hasPerformance": True,
    "hasDebug": False,
    "hasFeedback": False,
    "hasLogsAndMetrics": False,
}
MEMBERS = [
    *("id", "name", "label", "public", "secret", "projectId", "isActive", "rateLimit", "dsn"),
    *("browserSdkVersion", "browserSdk", "dateCreated", "dynamicSdkLoaderOptions"),
]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"name": "Fabulous Key"}, {"name": "Fabulous Key"}, id="a name"),
        pytest.param({"name": " \t Fabulous  Key\n"}, {"name": "Fabulous  Key"}, id="a name is trimmed"),
        pytest.param({"name": " " * 9 + "x" * 64}, {"name": "x" * 64}, id="64 characters after trimming"),
        pytest.param({"name": "\U0001f511" * 64}, {"name": "\U0001f511" * 64}, id="64 characters of 4 bytes"),
        pytest.param({"name": "'; DROP TABLE project_key; --"}, {"name": "'; DROP TABLE project_key; --"}, id="SQL"),
        pytest.param({"name": "a\r\nb\u202e"}, {"name": "a\r\nb\u202e"}, id="line ends and a right-to-left override"),
        pytest.param({"name": 5}, {"name": "5"}, id="a whole number as a name"),
        pytest.param({"name": 1.5}, {"name": "1.5"}, id="a number as a name"),
        pytest.param(
            {"rateLimit": {"window": 60, "count": 10}}, {"rateLimit": {"window": 60, "count": 10}}, id="limit"
        ),
        pytest.param({"rateLimit": {}}, {"rateLimit": None}, id="an empty limit"),
        pytest.param({"rateLimit": {"other": 1}}, {"rateLimit": None}, id="a limit of unknown members"),
        pytest.param({"rateLimit": {"window": 0, "count": 10}}, {"rateLimit": None}, id="a window of zero"),
        pytest.param({"rateLimit": {"window": 60, "count": 0}}, {"rateLimit": None}, id="a count of zero"),
        pytest.param({"rateLimit": {"window": None, "count": 10}}, {"rateLimit": None}, id="a window of null"),
        pytest.param({"rateLimit": {"window": 60, "count": ""}}, {"rateLimit": None}, id="an empty count"),
        pytest.param(
            {"rateLimit": {"window": "60", "count": 10.0}},
            {"rateLimit": {"window": 60, "count": 10}},
            id="a limit in texts and fractions",
        ),
        pytest.param(
            {"rateLimit": {"window": 86400, "count": 2147483647, "other": []}},
            {"rateLimit": {"window": 86400, "count": 2147483647}},
            id="the greatest limit, and an unknown member",
        ),
        pytest.param({"browserSdkVersion": "7.x"}, {"browserSdkVersion": "7.x"}, id="a version that is offered"),
        pytest.param({"browserSdkVersion": "4.x"}, {"browserSdkVersion": "4.x"}, id="an old version"),
        pytest.param({"browserSdkVersion": "latest"}, {"browserSdkVersion": "latest"}, id="the latest version"),
        pytest.param(
            {"dynamicSdkLoaderOptions": {"hasReplay": False, "hasDebug": "on", "other": 1}},
            {"dynamicSdkLoaderOptions": {**DEFAULT_OPTIONS, "hasReplay": False, "hasDebug": True}},
            id="options are merged into the default",
        ),
        pytest.param({"dynamicSdkLoaderOptions": None}, {}, id="options of null"),
        pytest.param({"dynamicSdkLoaderOptions": {}}, {}, id="no options"),
        pytest.param({"dynamicSdkLoaderOptions": "hasReplay"}, {}, id="options as a text"),
        pytest.param({"dynamicSdkLoaderOptions": []}, {}, id="options as a list"),
        pytest.param({"useCase": "profiling"}, {}, id="a use case has no effect"),
        pytest.param({"isActive": False}, {"isActive": True}, id="a new key is active"),
        pytest.param({"id": 7, "projectId": 7, "unknown": {"a": [1]}}, {}, id="unknown members are ignored"),
    ],
)
async def test_a_key_has_the_members_of_its_body(site: Site, body: Any, expected: dict[str, Any]) -> None:
    """Absent members have their defaults; a read returns the same key."""
    response = await site.create(body)
    assert response.status == 201
    key = response.body
    defaults = {
        "label": key["name"],
        "id": key["public"],
        "projectId": site.project_id,
        "isActive": True,
        "rateLimit": None,
        "browserSdkVersion": "10.x",
        "dynamicSdkLoaderOptions": DEFAULT_OPTIONS,
    }
    assert {**key, **defaults, **expected} == key
    assert list(key) == MEMBERS
    assert HEX.fullmatch(key["public"])
    assert HEX.fullmatch(key["secret"])
    assert key["public"] != key["secret"]
    assert (await site.send("GET", f"{site.keys_path}{key['id']}/")).body == key


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        pytest.param(b"", "application/json", id="no body"),
        pytest.param(b"", "text/plain", id="no body, of an unsupported type"),
        pytest.param(b"{}", "Application/JSON; charset=bogus", id="a charset is ignored"),
        pytest.param(b'{"name":null}', "application/json", id="a name of null"),
        pytest.param(b'{"name":""}', "application/json", id="an empty name"),
        pytest.param(b'{"name":" \\t\\u00a0"}', "application/json", id="a blank name"),
        pytest.param(b'{"name":"Given","name":""}', "application/json", id="a repeated member: the last one counts"),
        pytest.param(b'{"public":null,"secret":null}', "application/json", id="halves of null"),
    ],
)
async def test_a_key_without_a_name_gets_one(site: Site, raw: bytes, content_type: str) -> None:
    """Two capitalized words of at most ten letters."""
    response = await site.post(raw, content_type=content_type)
    assert response.status == 201
    assert TWO_WORDS.fullmatch(response.body["name"])


async def test_generated_names_differ(site: Site) -> None:
    """They are random."""
    responses = await asyncio.gather(*(site.create({}) for _ in range(10)))
    assert len({response.body["name"] for response in responses}) > 5


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"public": "a1" * 16}, id="the public half"),
        pytest.param({"secret": "b2" * 16}, id="the secret half"),
        pytest.param({"public": "c3" * 16, "secret": "d4" * 16}, id="both halves"),
        pytest.param({"public": "e5" * 16, "secret": "e5" * 16}, id="both halves alike"),
    ],
)
async def test_given_halves_are_used_and_the_other_one_is_generated(site: Site, given: dict[str, str]) -> None:
    """They are trimmed, and are part of the key and of its DSN."""
    response = await site.create({name: f" {value}\n" for name, value in given.items()})
    assert response.status == 201
    key = response.body
    assert {**key, **given} == key
    assert key["dsn"]["secret"] == f"https://{key['public']}:{key['secret']}@sentry.io/{site.project_id}"


@pytest.mark.parametrize("value", ["zz", "A1" * 16, 1.5, 7, True, [], {"a": "b"}], ids=str)
async def test_a_half_of_another_form_is_an_error_with_the_pattern(site: Site, value: object) -> None:
    """Whatever its type is."""
    async with storing_nothing(site):
        response = await site.create({"secret": value})
    error = "This value does not match the required pattern. The pattern is ^[a-f0-9]{32}$."
    assert (response.status, response.body) == (400, {"secret": [error]})


@pytest.mark.parametrize("fields", [["public"], ["secret"], ["public", "secret"]], ids=" and ".join)
@pytest.mark.parametrize("project", ["pump-station", "elsewhere"], ids=["same project", "other project"])
async def test_a_half_that_is_in_use_is_an_error_of_its_field(site: Site, fields: list[str], project: str) -> None:
    """Whichever project uses it; the message does not name the project."""
    assert (await site.new_project("elsewhere")).status in {201, 409}
    taken = (await site.create({})).body
    path = site.keys_path.replace("pump-station", project)
    async with storing_nothing(site):
        response = await site.send("POST", path, json={field: taken[field] for field in fields})
    assert (response.status, response.body) == (
        400,
        {field: ["This field must be unique."] for field in fields},
    )


@pytest.mark.parametrize("field", ["public", "secret"])
async def test_of_concurrent_creates_with_the_same_half_one_succeeds(site: Site, field: str) -> None:
    """In the same transaction or in several; the others get the error of the field."""
    half = {"public": "f6", "secret": "f7"}[field] * 16
    before = await stored(site)
    responses = await asyncio.gather(*(site.create({field: half}) for _ in range(20)))
    assert sorted(response.status for response in responses) == [201] + [400] * 19
    errors = [response.body for response in responses if response.status == 400]
    assert errors == [{field: ["This field must be unique."]}] * 19
    assert await stored(site) == with_more_keys(before, 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("r-1._A", True, id="valid"),
        pytest.param("x" * 128, True, id="128 characters"),
        pytest.param("x" * 129, False, id="129 characters"),
        pytest.param("", False, id="empty"),
        pytest.param("a b", False, id="a space"),
        pytest.param("a\u00e9", False, id="a letter that is not ASCII"),
        pytest.param(None, False, id="none"),
    ],
)
async def test_a_valid_request_id_is_used_and_another_one_is_generated(
    site: Site,
    given: str | None,
    kept: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    """The response, the audit entry and the event contain the same id."""
    response = await site.create({}, headers={} if given is None else {"X-Request-Id": given})
    request_id = response.headers["X-Request-Id"]
    assert request_id == given if kept else HEX.fullmatch(request_id)
    row = await site.postgres.fetchrow(
        """
        SELECT audit_entry.request_id AS audited, outbox.headers ->> 'x-request-id' AS sent
        FROM audit_entry JOIN outbox ON outbox.aggregateid = audit_entry.target
        WHERE target = $1
        """,
        response.body["id"],
    )
    assert row is not None
    assert tuple(row) == (request_id, request_id)
