"""Decisions for proxies: where method, URI and key are found, and what is allowed."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import hdrs

from service.domain.events import EventType
from service.domain.model import new_key_half
from service.edge import original_requests
from service.edge.authorization import RateWindows
from service.edge.client_keys import ClientKey
from service.edge.original_requests import parse_request
from tests.edge_site import REJECTED, EdgeSite, open_edge, open_edge_without_kafka

_KEY, _OTHER = new_key_half(), new_key_half()
_URI = "/api/3/envelope/"
_AUTH = f"Sentry sentry_version=7, sentry_key={_KEY}, sentry_client=a/1"
_Headers = dict[str, str] | list[tuple[str, str]]


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str) -> AsyncIterator[EdgeSite]:
    """An edge with two keys of project 3."""
    async with open_edge(kafka_bootstrap) as opened:
        for key in (_KEY, _OTHER):
            await opened.write(key, projectId=3, organizationId=2, keyId=17)
        yield opened


async def _ask(
    edge: EdgeSite, headers: _Headers, path: str = "/auth", method: str = "GET"
) -> tuple[int, str, dict[str, str]]:
    """Return the status, the reason and the headers of a decision."""
    async with edge.client.request(method, edge.url + path, headers=headers) as response:
        return response.status, response.headers.get("X-Auth-Reason", ""), dict(response.headers)


async def _reason(edge: EdgeSite, headers: _Headers, path: str = "/auth") -> str:
    status, reason, _ = await _ask(edge, headers, path)
    assert (status == 403) == bool(reason)
    return reason


def _basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Original-URI": _URI, "X-Sentry-Auth": _AUTH},
        {"X-Forwarded-Uri": _URI, "Authorization": _AUTH},
        {"X-Envoy-Original-Path": _URI, "X-Sentry-Auth": f"Sentry sentry_key={_KEY}"},
        {"X-Original-URI": f"{_URI}?sentry_key={_KEY}&sentry_version=7"},
        {"X-Original-URI": f"{_URI}?a=1&glitchtip_key={_KEY}"},
        {"X-Original-URI": f"{_URI}?sentry%5Fkey={_KEY}"},
        {"X-Original-URI": _URI, "Authorization": _basic(_KEY)},
        {"X-Original-URI": f"/api/3/unreal/{_KEY}/"},
        {"X-Original-URI": f"/api/3/cron/nightly/{_KEY}/"},
        {"X-Original-URI": f"/api/3/cron/nightly/{_KEY}"},
        {"X-Original-URI": f"/base/path{_URI}", "X-Sentry-Auth": _AUTH},
        {
            "X-Original-URI": f"{_URI}?sentry_key={_KEY}",
            "X-Sentry-Auth": _AUTH,
            "Authorization": _basic(_KEY),
        },
        {"X-Original-URI": _URI, "X-Forwarded-Uri": _URI, "X-Sentry-Auth": _AUTH},
    ],
)
async def test_the_key_and_the_uri_are_found(edge: EdgeSite, headers: dict[str, str]) -> None:
    """In each header of a proxy, and wherever clients put the key."""
    status, _, answer = await _ask(edge, headers)
    assert status == 200
    assert (answer["X-Project-Id"], answer["X-Organization-Id"], answer["X-Key-Id"]) == ("3", "2", "17")


async def test_the_uri_can_be_the_path_behind_auth(edge: EdgeSite) -> None:
    """Envoy keeps path and method of the request."""
    for method in ("POST", "GET", "PUT"):
        assert (await _ask(edge, {}, f"/auth/api/3/envelope/?sentry_key={_KEY}", method))[0] == 200
    assert (await _ask(edge, {}, "/auth/api/3/envelope/", "OPTIONS"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "no_uri"),
        ({"X-Original-URI": _URI}, "no_key"),
        ({"X-Original-URI": "/", "X-Sentry-Auth": _AUTH}, "no_project"),
        ({"X-Original-URI": "/api/x/envelope/", "X-Sentry-Auth": _AUTH}, "no_project"),
        ({"X-Original-URI": "/api/3", "X-Sentry-Auth": _AUTH}, "no_project"),
        ({"X-Original-URI": "/api/4/envelope/", "X-Sentry-Auth": _AUTH}, "other_project"),
        ({"X-Original-URI": _URI, "X-Sentry-Auth": "Sentry sentry_key=short"}, "unknown_key"),
        ({"X-Original-URI": _URI, "Authorization": "Basic !!"}, "unknown_key"),
        ({"X-Original-URI": f"{_URI}?sentry_key={_KEY.upper()}"}, "unknown_key"),
    ],
)
async def test_a_refusal_has_a_reason(edge: EdgeSite, headers: dict[str, str], reason: str) -> None:
    """In the header X-Auth-Reason and in the body."""
    assert await _reason(edge, headers) == reason
    assert f'decision="refused",reason="{reason}"' in edge.metrics
    async with edge.client.get(f"{edge.url}/auth", headers=headers) as response:
        assert await response.json() == {"detail": REJECTED, "causes": [reason]}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("X-Original-URI", _URI), ("X-Forwarded-Uri", "/api/4/store/")], "conflicting_uris"),
        ([("X-Original-URI", f"{_URI}?sentry_key={_OTHER}"), ("X-Sentry-Auth", _AUTH)], "conflicting_keys"),
        ([("X-Original-URI", f"{_URI}?sentry_key={_KEY}&sentry_key={_OTHER}")], "conflicting_keys"),
        ([("X-Original-URI", f"{_URI}?sentry_key={_KEY}&sentry%5fkey={_OTHER}")], "conflicting_keys"),
        ([("X-Original-URI", _URI), ("X-Sentry-Auth", f"{_AUTH},sentry_key={_OTHER}")], "conflicting_keys"),
        (
            [
                ("X-Original-URI", _URI),
                ("X-Sentry-Auth", _AUTH),
                ("X-Sentry-Auth", f"Sentry sentry_key={_OTHER}"),
            ],
            "conflicting_keys",
        ),
        ([("X-Original-URI", "/api/3/../4/envelope/"), ("X-Sentry-Auth", _AUTH)], "no_project"),
        ([("X-Original-URI", "/api/3/%2e%2e/4/envelope/"), ("X-Sentry-Auth", _AUTH)], "no_project"),
        ([("X-Original-URI", "/api/3/x/api/4/envelope/"), ("X-Sentry-Auth", _AUTH)], "no_project"),
        ([("X-Original-URI", "//api/3/envelope/"), ("X-Sentry-Auth", _AUTH)], "no_project"),
    ],
)
async def test_what_another_program_could_understand_differently_is_refused(
    edge: EdgeSite, headers: list[tuple[str, str]], reason: str
) -> None:
    """Otherwise a client could have one key decided and send another to the ingest service."""
    assert await _reason(edge, headers) == reason


@pytest.mark.parametrize(
    ("uri", "auth"),
    [(_URI, _AUTH), (f"{_URI}?sentry_version=7&sentry_key={_KEY}&sentry_client=a%2F1", "")],
    ids=["header", "query"],
)
def test_a_request_of_the_usual_form_is_parsed_as_any_other(
    monkeypatch: pytest.MonkeyPatch, uri: str, auth: str
) -> None:
    """Each token of an example is replaced by each other one and by more, and doubled."""
    tokens = re.findall(r"sentry_|\w+|.", f"{uri}\n{auth}", re.DOTALL)
    more = [
        "",
        "\n",
        " ",
        '"',
        "#",
        ";",
        "%",
        "+",
        "0",
        "01",
        "9" * 19,
        "9" * 20,
        "é",
        "\udcff",
        "SENTRY_",
        _OTHER,
        "glitchtip_",
    ]
    more += [f"&{name}_key={_OTHER}" for name in ("sentry", "glitchtip")] + [
        "&a=b" * 100,
        "/" * 8192,
        f",sentry_key={_KEY}",
        f" sentry_key={_OTHER}",
    ]
    replaced = (
        "".join([*tokens[:place], new, *tokens[place + 1 :]])
        for place, token in enumerate(tokens)
        for new in {*tokens, *more, token * 2}
    )
    cases = [case.partition("\n")[::2] for case in replaced]
    found = [parse_request(*case, "") for case in cases]
    assert {case.reason for case in found} >= {"", "no_project", "no_key", "conflicting_keys", "unknown_key"}
    monkeypatch.setattr(original_requests, "USUAL", re.compile("(?!)"))
    parse_request.cache_clear()
    for case, expected in zip(cases, found, strict=True):
        assert parse_request(*case, "") == expected, case


async def test_a_preflight_request_passes_without_a_key(edge: EdgeSite) -> None:
    """Browsers send none with it. A header that a client adds does not turn a POST into one."""
    headers = {"X-Original-URI": _URI, "X-Original-Method": "OPTIONS"}
    assert (await _ask(edge, headers))[0] == 200
    assert (await _ask(edge, {"X-Forwarded-Uri": _URI, "X-Forwarded-Method": "OPTIONS"}))[0] == 200
    spoofed = {"X-Original-URI": _URI, "X-Original-Method": "POST", "X-Forwarded-Method": "OPTIONS"}
    assert await _reason(edge, spoofed) == "no_key"
    assert (await _ask(edge, {"X-Forwarded-Method": "OPTIONS"}, "/auth/api/3/envelope/", "POST"))[0] == 403


async def test_disabled_deleted_and_expired_keys_are_refused(edge: EdgeSite) -> None:
    """A deleted key without a wait."""
    disabled, deleted, expired = (new_key_half() for _ in range(3))
    await edge.write(disabled, isActive=False, projectId=3)
    await edge.write(deleted, 1)
    await edge.write(deleted, 2, EventType.DELETED)
    await edge.write(expired, expiresAt=(datetime.now(UTC) - timedelta(seconds=6)).isoformat(), projectId=3)
    reasons = {disabled: "disabled_key", deleted: "unknown_key", expired: "expired_key"}
    for key, reason in reasons.items():
        assert await _reason(edge, {"X-Original-URI": f"{_URI}?sentry_key={key}"}) == reason


async def test_an_unknown_key_is_allowed_when_its_event_comes_in_time(edge: EdgeSite) -> None:
    """Its request waits up to 250 ms; later ones only until the topic is read."""
    key = new_key_half()
    headers = {"X-Original-URI": f"{_URI}?sentry_key={key}"}
    asked = asyncio.create_task(_ask(edge, headers))
    await asyncio.sleep(0.05)
    await edge.writer.write(key, 1, projectId=3)
    assert (await asked)[0] == 200
    unknown = {"X-Original-URI": f"{_URI}?sentry_key={new_key_half()}"}
    assert (await _ask(edge, unknown))[1] == "unknown_key"


async def test_a_rate_limit_results_in_429_with_its_headers(edge: EdgeSite) -> None:
    """With status=403 the actual status is in a header, because nginx turns 429 into 500."""
    key = new_key_half()
    await edge.write(key, projectId=3, rateLimit={"window": 3600, "count": 2})
    headers = {"X-Original-URI": f"{_URI}?sentry_key={key}"}
    assert [(await _ask(edge, headers))[0] for _ in range(3)] == [200, 200, 429]
    status, reason, answer = await _ask(edge, headers)
    seconds = int(answer[hdrs.RETRY_AFTER])
    assert (status, reason, answer["X-Auth-Status"]) == (429, "key_quota", "429")
    assert 0 < seconds <= 3600
    assert answer["X-Sentry-Rate-Limits"] == f"{seconds}::key:key_quota"
    status, _, answer = await _ask(edge, headers, "/auth?status=403")
    assert (status, answer["X-Auth-Status"]) == (403, "429")
    status, _, answer = await _ask(edge, {"X-Original-URI": _URI}, "/auth?status=403")
    assert (status, answer["X-Auth-Status"]) == (403, "403")


def test_windows_are_fixed_and_keys_are_counted_separately() -> None:
    """The next window starts at the next multiple of its length."""
    now = [1000.0]
    windows = RateWindows(clock=lambda: now[0])
    first, second = (ClientKey(name, 1, 1, 1, True, 2, 60, 0.0) for name in "ab")  # noqa: FBT003 -- a tuple
    assert [windows.count(first) for _ in range(3)] == [0, 0, 20]
    assert windows.count(second) == 0
    now[0] = 1019.9
    assert windows.count(first) == 1
    now[0] = 1020.0
    assert [windows.count(first) for _ in range(3)] == [0, 0, 60]


@pytest.mark.parametrize("fails_open", [False, True])
async def test_a_setting_decides_while_the_keys_are_not_loaded(*, fails_open: bool) -> None:
    """Without Kafka and a snapshot; `/auth` refuses with 503, so that a relay keeps its envelopes."""
    headers = {"X-Original-URI": _URI, "X-Sentry-Auth": _AUTH}
    async with open_edge_without_kafka(edge_fail_open=fails_open) as site:
        status, _, answer = await _ask(site, headers)
        assert status == (200 if fails_open else 503)
        assert fails_open or answer["X-Auth-Status"] == "503"
        assert (await site.send("GET", f"/keys/{_KEY}"))[0] == 404
        async with site.client.get(f"{site.ops_url}/readyz") as response:
            assert response.status == 503


async def test_the_token_of_the_edge_is_required_where_it_is_set(kafka_bootstrap: str) -> None:
    """By /auth in a header of its own, as the others are the client's."""
    async with open_edge(kafka_bootstrap, edge_token="an edge token 123".replace(" ", "-")) as site:
        await site.write(_KEY, projectId=3)
        headers = {"X-Original-URI": _URI, "X-Sentry-Auth": _AUTH}
        assert await _reason(site, headers) == "edge_token"
        assert (await _ask(site, {**headers, "X-Edge-Token": "an-edge-token-123"}))[0] == 200
        assert (await _ask(site, {**headers, "X-Edge-Token": "an-edge-token-12é"}))[0] == 403
        assert (await site.send("GET", "/api/0/relays/live/"))[0] == 200


async def test_decisions_are_made_quickly(edge: EdgeSite) -> None:
    """None blocks the event loop, however long the path is."""
    for uri in ("/a" * 4000 + _URI, "/api/3/" + "a/" * 4000, "/api/" * 1000, _URI + "?" + "a=b&" * 2000):
        started = time.process_time()
        await _ask(edge, {"X-Original-URI": uri, "X-Sentry-Auth": _AUTH})
        assert time.process_time() - started < 0.05
