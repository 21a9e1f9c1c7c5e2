"""Who may do what: credentials, scopes, methods, and which of several mistakes is told."""

from datetime import UTC, datetime, timedelta

import pytest

from service.domain.scopes import SCOPES
from tests.http_service import COMMON_HEADERS, NO_PERMISSION, NOT_FOUND, ORGANIZATION, Site, storing_nothing

CHALLENGE = 'xBasic realm="api"'
NOT_PROVIDED = "Authentication credentials were not provided."
UNKNOWN = "sntryu_" + "0" * 64
PROJECTS = f"/api/0/organizations/{ORGANIZATION}/projects/"
KEY = "0" * 32


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        pytest.param(None, NOT_PROVIDED, id="no header"),
        pytest.param("", NOT_PROVIDED, id="an empty header"),
        pytest.param("Token abc", NOT_PROVIDED, id="a scheme that nobody accepts"),
        pytest.param("DSN https://a@b/1", NOT_PROVIDED, id="a DSN"),
        pytest.param("Basic YTo=", NOT_PROVIDED, id="Basic, which is not offered"),
        pytest.param(UNKNOWN, NOT_PROVIDED, id="a token without a scheme"),
        pytest.param(
            "Bearer", "Invalid token header. No credentials provided.", id="a scheme without a token"
        ),
        pytest.param("Bearer  ", "Invalid token header. No credentials provided.", id="a blank token"),
        pytest.param(
            "Bearer a b", "Invalid token header. Token string should not contain spaces.", id="two tokens"
        ),
        pytest.param(f"Bearer {UNKNOWN}", "Invalid token", id="an unknown token"),
        pytest.param("Bearer abc", "Invalid token", id="an unknown token without a prefix"),
        pytest.param("Bearer sntrys_abc", "Invalid org token", id="an unknown token of an organization"),
        pytest.param("Bearer \udcff\udcfe", "Invalid token", id="bytes that are no text"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_without_credentials_that_hold_it_is_401(
    site: Site, method: str, header: str | None, detail: str
) -> None:
    """Each way to have none has its words; nothing else is looked at."""
    lines = [f"{method} {site.keys_path} HTTP/1.1", "Host: a", "Content-Length: 2", "Connection: close"]
    if header is not None:
        lines.append(f"Authorization: {header}")
    head = "\r\n".join([*lines, "", ""]).encode(errors="surrogateescape")
    async with storing_nothing(site):
        answer = await site.exchange(head + b"{}")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert f"WWW-Authenticate: {CHALLENGE}\r\n".encode() in answer
    assert answer.endswith(b'\r\n\r\n{"detail":"%s"}' % detail.encode())


async def test_a_refusal_carries_every_header_of_an_answer(site: Site) -> None:
    """The security headers, the methods of the resource and the request's id."""
    answer = await site.send("GET", site.keys_path, token="", headers={"X-Request-Id": "mine"})
    expected = {
        **COMMON_HEADERS,
        "Allow": "GET, POST, HEAD, OPTIONS",
        "Content-Type": "application/json",
        "WWW-Authenticate": CHALLENGE,
        "X-Request-Id": "mine",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "BeArEr"])
async def test_the_word_of_the_scheme_may_be_in_any_case(site: Site, scheme: str) -> None:
    """As HTTP says."""
    headers = {"Authorization": f"{scheme} {site.token}"}
    assert (await site.send("GET", site.keys_path, token="", headers=headers)).status == 200


async def test_a_token_ends_at_its_time_also_when_it_is_remembered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment before, it works; at its end it is told apart from an unknown one."""
    tokens, end = site.service.use_cases.tokens, datetime.now(UTC) + timedelta(hours=1)
    token = await tokens.create("test", scopes=SCOPES, expires_at=end)
    monkeypatch.setattr(tokens, "_clock", lambda: end - timedelta(microseconds=1))
    assert (await site.send("GET", site.keys_path, token=token)).status == 200
    monkeypatch.setattr(tokens, "_clock", lambda: end)
    async with storing_nothing(site):
        answer = await site.send("POST", site.keys_path, token=token, json={})
    assert (answer.status, answer.body) == (401, {"detail": "Token expired"})
    assert answer.headers["WWW-Authenticate"] == CHALLENGE


async def test_a_revoked_token_ends_within_five_seconds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be remembered that long, and no use of it makes that longer."""
    tokens, now = site.service.use_cases.tokens, 1000.0
    monkeypatch.setattr(tokens._cache, "_clock", lambda: now)
    token = await site.new_token()
    assert (await site.send("GET", site.keys_path, token=token)).status == 200
    await tokens.revoke(max(row.id for row in await tokens.list()))
    now += 4.0
    await site.send("GET", site.keys_path, token=token)
    now += 1.0
    async with storing_nothing(site):
        answer = await site.send("POST", site.keys_path, token=token, json={})
    assert (answer.status, answer.body) == (401, {"detail": "Invalid token"})


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        pytest.param("project:read", {"read"}, id="project:read reads"),
        pytest.param("project:write", {"read", "create", "make"}, id="project:write implies project:read"),
        pytest.param("project:admin", {"read", "create", "make"}, id="project:admin implies project:write"),
        pytest.param("org:read", set(), id="org:read does nothing here"),
        pytest.param("org:write", {"make"}, id="org:write makes projects alone"),
        pytest.param("org:admin", {"make", "found"}, id="org:admin makes organizations too"),
    ],
)
async def test_a_scope_opens_what_it_implies_and_no_more(site: Site, scope: str, may: set[str]) -> None:
    """A body that is refused shows that the door was open, and leaves nothing behind."""
    token = await site.new_token(scope)
    tries = {
        "read": await site.send("GET", site.keys_path, token=token),
        "create": await site.send("POST", site.keys_path, token=token, json=[]),
        "make": await site.send("POST", PROJECTS, token=token, json=[]),
        "found": await site.send("POST", "/api/0/organizations/", token=token, json=[]),
    }
    expected = {name: (200 if name == "read" else 400) if name in may else 403 for name in tries}
    assert {name: answer.status for name, answer in tries.items()} == expected


@pytest.mark.parametrize(
    ("method", "path", "scope", "accepted"),
    [
        pytest.param("GET", "keys/", "org:admin", "project:admin project:read project:write", id="list"),
        pytest.param(
            "HEAD", "keys/", "org:admin", "project:admin project:read project:write", id="list, HEAD"
        ),
        pytest.param("POST", "keys/", "project:read", "project:admin project:write", id="create"),
        pytest.param("PUT", "keys/", "project:read", "project:admin project:write", id="put on the list"),
        pytest.param("DELETE", "keys/", "project:write", "project:admin", id="delete on the list"),
        pytest.param("GET", f"keys/{KEY}/", "org:read", "project:admin project:read project:write", id="get"),
        pytest.param("POST", "../../organizations/", "org:write", "org:admin", id="new organization"),
    ],
)
async def test_too_small_a_scope_is_403_and_says_which_would_do(
    site: Site, method: str, path: str, scope: str, accepted: str
) -> None:
    """In the order of the alphabet, as clients compare them."""
    token = await site.new_token(scope)
    absolute = "/api/0/organizations/" if path.startswith("..") else site.keys_path.replace("keys/", path)
    async with storing_nothing(site):
        answer = await site.send(method, absolute, token=token)
    assert (answer.status, answer.body) == (403, None if method == "HEAD" else NO_PERMISSION)
    challenge = f'Bearer error="insufficient_scope", scope="{accepted}"'
    assert answer.headers["WWW-Authenticate"] == challenge


ALLOWED = [
    pytest.param("/api/0/organizations/", "POST, OPTIONS", id="organizations"),
    pytest.param(PROJECTS, "GET, POST, HEAD, OPTIONS", id="projects"),
    pytest.param(f"/api/0/projects/{ORGANIZATION}/pump-station/keys/", "GET, POST, HEAD, OPTIONS", id="keys"),
]


@pytest.mark.parametrize(("path", "allow"), ALLOWED)
async def test_options_needs_no_token_and_has_no_body(site: Site, path: str, allow: str) -> None:
    """200, empty, and what can be done here."""
    answer = await site.send("OPTIONS", path, token="", headers={"Origin": "https://evil.example"})
    assert (answer.status, answer.raw) == (200, b"")
    expected = {**COMMON_HEADERS, "Allow": allow, "Content-Length": "0"}
    assert {name: answer.headers.get(name) for name in expected} == expected
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE", "PROPFIND", "TRACE"])
@pytest.mark.parametrize(("path", "allow"), ALLOWED)
async def test_a_method_that_is_not_there_is_405_and_says_which_are(
    site: Site, path: str, allow: str, method: str
) -> None:
    """The method is in the words; the body is not read."""
    async with storing_nothing(site):
        answer = await site.send(method, path, data=b"{bad")
    assert (answer.status, answer.body) == (405, {"detail": f'Method "{method}" not allowed.'})
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "body"),
    [
        pytest.param(
            "PUT", "nowhere/keys/", "none", 401, {"detail": NOT_PROVIDED}, id="401 before 403 and 405"
        ),
        pytest.param("PUT", "nowhere/keys/", "read", 403, NO_PERMISSION, id="403 before 405 and 404"),
        pytest.param(
            "PUT", "nowhere/keys/", "all", 405, {"detail": 'Method "PUT" not allowed.'}, id="405 before 404"
        ),
        pytest.param("POST", "nowhere/keys/", "all", 404, NOT_FOUND, id="404 before the body"),
        pytest.param("POST", "pump-station/keys/", "read", 403, NO_PERMISSION, id="403 before the body"),
        pytest.param(
            "POST",
            f"nowhere/keys/{KEY}/",
            "all",
            405,
            {"detail": 'Method "POST" not allowed.'},
            id="405 on a key",
        ),
        pytest.param(
            "POST",
            "pump-station/keys/",
            "all",
            415,
            {"detail": 'Unsupported media type "text/plain" in request.'},
            id="415 before what the body says",
        ),
    ],
)
async def test_of_several_mistakes_the_first_in_the_order_is_told(
    site: Site, method: str, path: str, token: str, status: int, body: object
) -> None:
    """Who, may they, can one, of what, and only then the body, which is wrong in each of these."""
    tokens = {"none": "", "all": site.token, "read": await site.new_token("project:read")}
    async with storing_nothing(site):
        answer = await site.send(
            method,
            f"/api/0/projects/{ORGANIZATION}/{path}",
            token=tokens[token],
            data=b"{bad",
            headers={"Content-Type": "text/plain"},
        )
    assert (answer.status, answer.body) == (status, body)
