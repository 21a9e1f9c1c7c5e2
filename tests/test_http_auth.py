"""Authentication, scopes and methods, and which of several errors is reported."""

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
        pytest.param("Token abc", NOT_PROVIDED, id="an unknown scheme"),
        pytest.param("DSN https://a@b/1", NOT_PROVIDED, id="a DSN"),
        pytest.param("Basic YTo=", NOT_PROVIDED, id="Basic, which is not offered"),
        pytest.param(UNKNOWN, NOT_PROVIDED, id="a token without a scheme"),
        pytest.param("Bearer", "Invalid token header. No credentials provided.", id="a scheme without a token"),
        pytest.param("Bearer  ", "Invalid token header. No credentials provided.", id="a blank token"),
        pytest.param("Bearer a b", "Invalid token header. Token string should not contain spaces.", id="two tokens"),
        pytest.param(f"Bearer {UNKNOWN}", "Invalid token", id="an unknown token"),
        pytest.param("Bearer abc", "Invalid token", id="an unknown token without a prefix"),
        pytest.param("Bearer sntrys_abc", "Invalid org token", id="an unknown token of an organization"),
        pytest.param("Bearer \udcff\udcfe", "Invalid token", id="bytes that are not UTF-8"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_without_valid_credentials_it_is_401(site: Site, method: str, header: str | None, detail: str) -> None:
    """Each kind of missing or invalid credentials has its text; nothing else is checked."""
    lines = [f"{method} {site.keys_path} HTTP/1.1", "Host: a", "Content-Length: 2", "Connection: close"]
    if header is not None:
        lines.append(f"Authorization: {header}")
    head = "\r\n".join([*lines, "", ""]).encode(errors="surrogateescape")
    async with storing_nothing(site):
        response = await site.exchange(head + b"{}")
    assert response.startswith(b"HTTP/1.1 401 ")
    assert f"WWW-Authenticate: {CHALLENGE}\r\n".encode() in response
    assert response.endswith(b'\r\n\r\n{"detail":"%s"}' % detail.encode())


async def test_an_error_response_has_all_common_headers(site: Site) -> None:
    """The security headers, the methods of the resource and the request id."""
    response = await site.send("GET", site.keys_path, token="", headers={"X-Request-Id": "mine"})
    expected = {
        **COMMON_HEADERS,
        "Allow": "GET, POST, HEAD, OPTIONS",
        "Content-Type": "application/json",
        "WWW-Authenticate": CHALLENGE,
        "X-Request-Id": "mine",
    }
    assert {name: response.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "BeArEr"])
async def test_the_scheme_is_case_insensitive(site: Site, scheme: str) -> None:
    """As RFC 9110 requires."""
    headers = {"Authorization": f"{scheme} {site.token}"}
    assert (await site.send("GET", site.keys_path, token="", headers=headers)).status == 200


async def test_a_token_expires_also_when_it_is_cached(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works until then; afterwards its error differs from that of an unknown token."""
    tokens, end = site.service.use_cases.tokens, datetime.now(UTC) + timedelta(hours=1)
    token = await tokens.create("test", scopes=SCOPES, expires_at=end)
    monkeypatch.setattr(tokens, "_clock", lambda: end - timedelta(microseconds=1))
    assert (await site.send("GET", site.keys_path, token=token)).status == 200
    monkeypatch.setattr(tokens, "_clock", lambda: end)
    async with storing_nothing(site):
        response = await site.send("POST", site.keys_path, token=token, json={})
    assert (response.status, response.body) == (401, {"detail": "Token expired"})
    assert response.headers["WWW-Authenticate"] == CHALLENGE


async def test_a_revoked_token_is_rejected_after_five_seconds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cached for that long, and using it does not extend this."""
    tokens, now = site.service.use_cases.tokens, 1000.0
    monkeypatch.setattr(tokens._cache, "_clock", lambda: now)
    token = await site.new_token()
    assert (await site.send("GET", site.keys_path, token=token)).status == 200
    await tokens.revoke(max(row.id for row in await tokens.list()))
    now += 4.0
    await site.send("GET", site.keys_path, token=token)
    now += 1.0
    async with storing_nothing(site):
        response = await site.send("POST", site.keys_path, token=token, json={})
    assert (response.status, response.body) == (401, {"detail": "Invalid token"})


@pytest.mark.parametrize(
    ("scope", "permitted"),
    [
        pytest.param("project:read", {"read"}, id="project:read reads"),
        pytest.param("project:write", {"read", "create", "create project"}, id="project:write implies project:read"),
        pytest.param("project:admin", {"read", "create", "create project"}, id="project:admin implies project:write"),
        pytest.param("org:read", set(), id="org:read permits none of these"),
        pytest.param("org:write", {"create project"}, id="org:write creates projects only"),
        pytest.param(
            "org:admin", {"create project", "create organization"}, id="org:admin creates organizations too"
        ),
    ],
)
async def test_a_scope_permits_what_it_implies_and_nothing_else(site: Site, scope: str, permitted: set[str]) -> None:
    """An invalid body shows that the request was authorized, and stores nothing."""
    token = await site.new_token(scope)
    responses = {
        "read": await site.send("GET", site.keys_path, token=token),
        "create": await site.send("POST", site.keys_path, token=token, json=[]),
        "create project": await site.send("POST", PROJECTS, token=token, json=[]),
        "create organization": await site.send("POST", "/api/0/organizations/", token=token, json=[]),
    }
    expected = {name: (200 if name == "read" else 400) if name in permitted else 403 for name in responses}
    assert {name: response.status for name, response in responses.items()} == expected


@pytest.mark.parametrize(
    ("method", "path", "scope", "accepted"),
    [
        pytest.param("GET", "keys/", "org:admin", "project:admin project:read project:write", id="list"),
        pytest.param("HEAD", "keys/", "org:admin", "project:admin project:read project:write", id="list, HEAD"),
        pytest.param("POST", "keys/", "project:read", "project:admin project:write", id="create"),
        pytest.param("PUT", "keys/", "project:read", "project:admin project:write", id="put on the list"),
        pytest.param("DELETE", "keys/", "project:write", "project:admin", id="delete on the list"),
        pytest.param("GET", f"keys/{KEY}/", "org:read", "project:admin project:read project:write", id="get"),
        pytest.param("POST", "../../organizations/", "org:write", "org:admin", id="new organization"),
    ],
)
async def test_an_insufficient_scope_is_403_and_names_the_sufficient_ones(
    site: Site, method: str, path: str, scope: str, accepted: str
) -> None:
    """In alphabetical order, as clients compare them."""
    token = await site.new_token(scope)
    absolute = "/api/0/organizations/" if path.startswith("..") else site.keys_path.replace("keys/", path)
    async with storing_nothing(site):
        response = await site.send(method, absolute, token=token)
    assert (response.status, response.body) == (403, None if method == "HEAD" else NO_PERMISSION)
    challenge = f'Bearer error="insufficient_scope", scope="{accepted}"'
    assert response.headers["WWW-Authenticate"] == challenge


ALLOWED = [
    pytest.param("/api/0/organizations/", "GET, POST, HEAD, OPTIONS", id="organizations"),
    pytest.param(PROJECTS, "GET, POST, HEAD, OPTIONS", id="projects"),
    pytest.param(f"/api/0/projects/{ORGANIZATION}/pump-station/keys/", "GET, POST, HEAD, OPTIONS", id="keys"),
]


@pytest.mark.parametrize(("path", "allow"), ALLOWED)
async def test_options_needs_no_token_and_has_no_body(site: Site, path: str, allow: str) -> None:
    """200 with the allowed methods."""
    response = await site.send("OPTIONS", path, token="", headers={"Origin": "https://evil.example"})
    assert (response.status, response.raw) == (200, b"")
    expected = {**COMMON_HEADERS, "Allow": allow, "Content-Length": "0"}
    assert {name: response.headers.get(name) for name in expected} == expected
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE", "PROPFIND", "TRACE"])
@pytest.mark.parametrize(("path", "allow"), ALLOWED)
async def test_an_unknown_method_is_405_and_names_the_allowed_ones(
    site: Site, path: str, allow: str, method: str
) -> None:
    """The text contains the method; the body is not read."""
    async with storing_nothing(site):
        response = await site.send(method, path, data=b"{bad")
    assert (response.status, response.body) == (405, {"detail": f'Method "{method}" not allowed.'})
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "body"),
    [
        pytest.param("PUT", "nowhere/keys/", "none", 401, {"detail": NOT_PROVIDED}, id="401 before 403 and 405"),
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
            id="415 before the content of the body",
        ),
    ],
)
async def test_of_several_errors_the_first_one_is_reported(
    site: Site, method: str, path: str, token: str, status: int, body: object
) -> None:
    """Authentication, scope, method, resource, and last the body, which is invalid in each case."""
    tokens = {"none": "", "all": site.token, "read": await site.new_token("project:read")}
    async with storing_nothing(site):
        response = await site.send(
            method,
            f"/api/0/projects/{ORGANIZATION}/{path}",
            token=tokens[token],
            data=b"{bad",
            headers={"Content-Type": "text/plain"},
        )
    assert (response.status, response.body) == (status, body)
