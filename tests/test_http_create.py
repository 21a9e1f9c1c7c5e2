"""Creating keys: what a body may say, and what is chosen where it says nothing."""

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
        pytest.param(
            {"name": "'; DROP TABLE project_key; --"}, {"name": "'; DROP TABLE project_key; --"}, id="SQL"
        ),
        pytest.param(
            {"name": "a\r\nb\u202e"}, {"name": "a\r\nb\u202e"}, id="line ends and text that runs back"
        ),
        pytest.param({"name": 5}, {"name": "5"}, id="a whole number as a name"),
        pytest.param({"name": 1.5}, {"name": "1.5"}, id="a number as a name"),
        pytest.param(
            {"rateLimit": {"window": 60, "count": 10}}, {"rateLimit": {"window": 60, "count": 10}}, id="limit"
        ),
        pytest.param({"rateLimit": {}}, {"rateLimit": None}, id="an empty limit"),
        pytest.param({"rateLimit": {"other": 1}}, {"rateLimit": None}, id="a limit of unknown members"),
        pytest.param({"rateLimit": {"window": 0, "count": 10}}, {"rateLimit": None}, id="a window of zero"),
        pytest.param({"rateLimit": {"window": 60, "count": 0}}, {"rateLimit": None}, id="a count of zero"),
        pytest.param(
            {"rateLimit": {"window": None, "count": 10}}, {"rateLimit": None}, id="a window of null"
        ),
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
        pytest.param(
            {"browserSdkVersion": "7.x"}, {"browserSdkVersion": "7.x"}, id="a version that is offered"
        ),
        pytest.param({"browserSdkVersion": "4.x"}, {"browserSdkVersion": "4.x"}, id="a version of old"),
        pytest.param(
            {"browserSdkVersion": "latest"}, {"browserSdkVersion": "latest"}, id="the latest version"
        ),
        pytest.param(
            {"dynamicSdkLoaderOptions": {"hasReplay": False, "hasDebug": "on", "other": 1}},
            {"dynamicSdkLoaderOptions": {**DEFAULT_OPTIONS, "hasReplay": False, "hasDebug": True}},
            id="options are merged into the default",
        ),
        pytest.param({"dynamicSdkLoaderOptions": None}, {}, id="options of null"),
        pytest.param({"dynamicSdkLoaderOptions": {}}, {}, id="no options"),
        pytest.param({"dynamicSdkLoaderOptions": "hasReplay"}, {}, id="options as a text"),
        pytest.param({"dynamicSdkLoaderOptions": []}, {}, id="options as a list"),
        pytest.param({"useCase": "profiling"}, {}, id="a use case is not honoured"),
        pytest.param({"isActive": False}, {"isActive": True}, id="a new key is active"),
        pytest.param({"id": 7, "projectId": 7, "unknown": {"a": [1]}}, {}, id="unknown members are ignored"),
    ],
)
async def test_a_key_is_as_it_was_asked_for(site: Site, body: Any, expected: dict[str, Any]) -> None:
    """What is not said is the default; what is answered is what is read back."""
    answer = await site.create(body)
    assert answer.status == 201
    key = answer.body
    unsaid = {
        "label": key["name"],
        "id": key["public"],
        "projectId": site.project_id,
        "isActive": True,
        "rateLimit": None,
        "browserSdkVersion": "10.x",
        "dynamicSdkLoaderOptions": DEFAULT_OPTIONS,
    }
    assert {**key, **unsaid, **expected} == key
    assert list(key) == MEMBERS
    assert HEX.fullmatch(key["public"])
    assert HEX.fullmatch(key["secret"])
    assert key["public"] != key["secret"]
    assert (await site.send("GET", f"{site.keys_path}{key['id']}/")).body == key


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        pytest.param(b"", "application/json", id="no body"),
        pytest.param(b"", "text/plain", id="no body, of a type that is not read"),
        pytest.param(b"{}", "Application/JSON; charset=bogus", id="a charset is ignored"),
        pytest.param(b'{"name":null}', "application/json", id="a name of null"),
        pytest.param(b'{"name":""}', "application/json", id="an empty name"),
        pytest.param(b'{"name":" \\t\\u00a0"}', "application/json", id="a blank name"),
        pytest.param(
            b'{"name":"Given","name":""}', "application/json", id="of a member given twice the last counts"
        ),
        pytest.param(b'{"public":null,"secret":null}', "application/json", id="halves of null"),
    ],
)
async def test_a_key_without_a_name_gets_one(site: Site, raw: bytes, content_type: str) -> None:
    """Two words of at most ten letters, each with a capital."""
    answer = await site.post(raw, content_type=content_type)
    assert answer.status == 201
    assert TWO_WORDS.fullmatch(answer.body["name"])


async def test_generated_names_differ(site: Site) -> None:
    """Chance is not the same for each."""
    answers = await asyncio.gather(*(site.create({}) for _ in range(10)))
    assert len({answer.body["name"] for answer in answers}) > 5


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"public": "a1" * 16}, id="the public half"),
        pytest.param({"secret": "b2" * 16}, id="the secret half"),
        pytest.param({"public": "c3" * 16, "secret": "d4" * 16}, id="both halves"),
        pytest.param({"public": "e5" * 16, "secret": "e5" * 16}, id="both halves alike"),
    ],
)
async def test_own_halves_are_kept_and_the_other_is_made(site: Site, given: dict[str, str]) -> None:
    """They stand in the key and in its DSN, without the white space round them."""
    answer = await site.create({name: f" {value}\n" for name, value in given.items()})
    assert answer.status == 201
    key = answer.body
    assert {**key, **given} == key
    assert key["dsn"]["secret"] == f"https://{key['public']}:{key['secret']}@sentry.io/{site.project_id}"


@pytest.mark.parametrize("fields", [["public"], ["secret"], ["public", "secret"]], ids=" and ".join)
@pytest.mark.parametrize("project", ["pump-station", "elsewhere"], ids=["same project", "other project"])
async def test_a_half_that_is_in_use_is_refused_by_its_field(
    site: Site, fields: list[str], project: str
) -> None:
    """Whichever project has it; the message does not tell which."""
    assert (await site.new_project("elsewhere")).status in {201, 409}
    taken = (await site.create({})).body
    path = site.keys_path.replace("pump-station", project)
    async with storing_nothing(site):
        answer = await site.send("POST", path, json={field: taken[field] for field in fields})
    assert (answer.status, answer.body) == (400, {field: ["This field must be unique."] for field in fields})


@pytest.mark.parametrize("field", ["public", "secret"])
async def test_of_many_that_want_one_half_at_once_one_gets_it(site: Site, field: str) -> None:
    """In one transaction or in several, the others are told by the field."""
    half = {"public": "f6", "secret": "f7"}[field] * 16
    before = await stored(site)
    answers = await asyncio.gather(*(site.create({field: half}) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [400] * 19
    refusals = [answer.body for answer in answers if answer.status == 400]
    assert refusals == [{field: ["This field must be unique."]}] * 19
    assert await stored(site) == with_more_keys(before, 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("r-1._A", True, id="a good one"),
        pytest.param("x" * 128, True, id="128 characters"),
        pytest.param("x" * 129, False, id="129 characters"),
        pytest.param("", False, id="an empty one"),
        pytest.param("a b", False, id="a space"),
        pytest.param("a\u00e9", False, id="a letter that is not ASCII"),
        pytest.param(None, False, id="none"),
    ],
)
async def test_a_request_id_is_taken_if_it_is_fit_and_made_if_not(
    site: Site,
    given: str | None,
    kept: bool,  # noqa: FBT001 -- a column of a table
) -> None:
    """The answer, the audit entry and the event tell the same one."""
    answer = await site.create({}, headers={} if given is None else {"X-Request-Id": given})
    told = answer.headers["X-Request-Id"]
    assert told == given if kept else HEX.fullmatch(told)
    row = await site.postgres.fetchrow(
        """
        SELECT audit_entry.request_id AS audited, outbox.headers ->> 'x-request-id' AS sent
        FROM audit_entry JOIN outbox ON outbox.aggregateid = audit_entry.target
        WHERE target = $1
        """,
        answer.body["id"],
    )
    assert row is not None
    assert tuple(row) == (told, told)
