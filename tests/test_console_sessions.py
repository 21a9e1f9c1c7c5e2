"""Sessions of the console: when a cookie counts, and when a session ends."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import pytest

from service.app import Service
from service.domain.model import utc_now
from service.domain.scopes import SCOPES
from service.http.console_session import COOKIE
from service.usecases import tokens
from tests.http_service import ORGANIZATION, Response, Site
from tests.outbox import Postgres

ORIGIN = "https://keys.example.com"
SESSION = "/console/session"
READ = {"Sec-Fetch-Site": "same-origin"}
WRITE = {**READ, "Origin": ORIGIN, "Content-Type": "application/json"}


async def sign_in(site: Site, token: str, **headers: str) -> Response:
    """Send a sign-in as the page of the console does."""
    return await site.send("POST", SESSION, token="", headers={**WRITE, **headers}, json={"token": token})


def cookie(response: Response) -> dict[str, str]:
    """Return the header Cookie that the response of a sign-in makes a browser send."""
    return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


@pytest.fixture
async def bound(site: Site) -> str:
    """A new token of the site's organization."""
    return await site.new_token(organization=ORGANIZATION)


@pytest.fixture
async def session(site: Site, bound: str) -> dict[str, str]:
    """The cookie of a new session."""
    response = await sign_in(site, bound)
    assert response.status == 204
    return cookie(response)


@pytest.fixture(autouse=True)
async def _later_times(site: Site) -> AsyncIterator[None]:
    """Restore the clock of the tokens."""
    before = site.service.use_cases.tokens._clock
    yield
    site.service.use_cases.tokens._clock = before
    site.service.use_cases.tokens._cache.clear()


async def _get(site: Site, session: Mapping[str, str], path: str = SESSION, **headers: str) -> Response:
    return await site.send("GET", path, token="", headers={**READ, **session, **headers})


async def test_a_cookie_is_kept_from_scripts_other_hosts_and_other_sites(site: Site, bound: str) -> None:
    """By its attributes; only the hash of its value is stored."""
    response = await sign_in(site, bound)
    name, *attributes = response.headers["Set-Cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", "Max-Age=28800", "Path=/", "SameSite=Strict", "Secure"]
    session_id = name.removeprefix(f"{COOKIE}=")
    assert len(session_id) == 43
    stored = await site.postgres.fetch("SELECT id_hash FROM console_session")
    assert tokens.credential_hash(f"session {session_id}") in {row["id_hash"] for row in stored}
    assert (await site.send("GET", SESSION, token=f"session {session_id}")).status == 401
    assert (await site.send("GET", SESSION, token=session_id)).status == 401


async def test_a_session_has_the_rights_of_its_token(site: Site, session: dict[str, str]) -> None:
    """Its own organization and scopes; it is described without the token's value."""
    described = (await _get(site, session)).body
    assert described["organization"] == ORGANIZATION
    assert (described["token"]["name"], described["token"]["scopes"]) == ("test", list(SCOPES))
    assert (await _get(site, session, "/api/0/organizations/other/")).status == 403
    created = await site.send(
        "POST", site.keys_path, token="", headers={**WRITE, **session}, json={"name": "By cookie"}
    )
    assert (created.status, "secret" in created.body) == (201, True)
    own = await _get(site, session, f"{site.keys_path}{created.body['id']}/")
    assert own.body["secret"] == created.body["secret"]


@pytest.mark.parametrize("path", ["keys", "search", "organization"])
async def test_lists_of_a_session_contain_no_secrets(site: Site, session: dict[str, str], path: str) -> None:
    """Those of a token do."""
    await site.create({"name": "Listed"})
    paths = {
        "keys": site.keys_path,
        "search": f"{site.keys_path}?query=list",
        "organization": f"/api/0/organizations/{ORGANIZATION}/project-keys/",
    }
    listed = (await _get(site, session, paths[path])).body
    assert listed
    assert not any("secret" in key or "secret" in key["dsn"] for key in listed)
    assert all("secret" in key for key in (await site.send("GET", paths[path])).body)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "https://keys.example.com:444"},
        {"Origin": "http://keys.example.com"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Authorization": "Bearer unknown"},
        {"Authorization": ""},
    ],
    ids=str,
)
async def test_a_write_of_another_page_is_as_if_without_cookie(
    site: Site, session: dict[str, str], headers: dict[str, str]
) -> None:
    """401, and nothing is written."""
    before = await site.postgres.fetchval("SELECT count(*) FROM project_key")
    response = await site.send(
        "POST", site.keys_path, token="", headers={**WRITE, **session, **headers}, data=b'{"name": "Forged"}'
    )
    assert response.status == 401
    assert await site.postgres.fetchval("SELECT count(*) FROM project_key") == before


@pytest.mark.parametrize("site_header", ["same-site", "cross-site", "none", ""])
async def test_a_read_of_another_page_is_as_if_without_cookie(
    site: Site, session: dict[str, str], site_header: str
) -> None:
    """Also of a page on another port of the same host, to which SameSite does not apply."""
    assert (await _get(site, session, **{"Sec-Fetch-Site": site_header})).status == 401


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Content-Type": "text/plain"}, {}])
async def test_another_page_cannot_sign_in(site: Site, bound: str, headers: dict[str, str]) -> None:
    """403, without a cookie."""
    if headers:
        response = await sign_in(site, bound, **headers)
    else:
        response = await site.send("POST", SESSION, token="", json={"token": bound})
    assert (response.status, "Set-Cookie" in response.headers) == (403, False)
    assert ORIGIN in response.body["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "unknown"}, 401),
        ({"token": "session abc"}, 401),
        ({"token": ""}, 400),
        ({"token": 1}, 400),
        ({"token": None}, 400),
        ([], 400),
        ({}, 400),
    ],
    ids=str,
)
async def test_a_wrong_token_opens_no_session(site: Site, body: Any, status: int) -> None:
    """Each kind of body gets a clear error."""
    before = await site.postgres.fetchval("SELECT count(*) FROM console_session")
    response = await site.send("POST", SESSION, token="", headers=WRITE, json=body)
    assert (response.status, "Set-Cookie" in response.headers) == (status, False)
    assert await site.postgres.fetchval("SELECT count(*) FROM console_session") == before


async def test_a_sign_out_ends_the_session_at_once(site: Site, session: dict[str, str]) -> None:
    """The old cookie is rejected, and the audit log has both ends of the session."""
    assert (await _get(site, session)).status == 200
    response = await site.send("DELETE", SESSION, token="", headers={**WRITE, **session})
    assert (response.status, "Max-Age=0" in response.headers["Set-Cookie"]) == (204, True)
    assert (await _get(site, session)).status == 401
    newest = await site.send("GET", f"/api/0/organizations/{ORGANIZATION}/audit-logs/?per_page=2")
    assert [row["event"] for row in newest.body["rows"]] == ["session.end", "session.create"]
    assert (await site.send("DELETE", SESSION)).status == 400


async def test_a_session_ends_with_its_token(site: Site, session: dict[str, str], bound: str) -> None:
    """When the cached result of the look-up has expired, after 5 s."""
    row = await site.postgres.fetchrow(
        "SELECT id FROM api_token WHERE token_hash = $1", tokens.credential_hash(bound)
    )
    assert row is not None
    await site.service.use_cases.tokens.revoke(row["id"])
    site.service.use_cases.tokens._cache.clear()
    assert (await _get(site, session)).status == 401


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE console_session SET last_used_at = now() - interval '31 minutes'",
        "UPDATE console_session SET expires_at = now()",
    ],
)
async def test_a_session_ends_without_use_and_at_its_expiry(site: Site, session: dict[str, str], change: str) -> None:
    """After 30 minutes, or 8 hours after the sign-in."""
    await site.postgres.execute(change)
    site.service.use_cases.tokens._cache.clear()
    assert (await _get(site, session)).status == 401


async def test_a_use_is_stored_once_a_minute(site: Site, session: dict[str, str]) -> None:
    """So the session continues."""
    await site.postgres.execute("UPDATE console_session SET last_used_at = now() - interval '29 minutes'")
    site.service.use_cases.tokens._cache.clear()
    assert (await _get(site, session)).status == 200
    newest = await site.postgres.fetchval("SELECT max(last_used_at) FROM console_session")
    assert (utc_now() - newest).total_seconds() < 60


async def test_a_token_has_at_most_twenty_sessions(site: Site, session: dict[str, str], bound: str) -> None:
    """The 21st ends the oldest."""
    others = [cookie(await sign_in(site, bound)) for _ in range(20)]
    site.service.use_cases.tokens._cache.clear()
    assert [(await _get(site, each)).status for each in (session, others[0], others[-1])] == [401, 200, 200]


async def test_the_database_limits_a_session_to_eight_hours(service: Service, postgres: Postgres) -> None:
    """A constraint that the role of the service cannot avoid: it cannot set the time of creation."""
    await service.use_cases.tokens.create("test", scopes=SCOPES)
    with pytest.raises(asyncpg.CheckViolationError):
        await postgres.execute(
            "INSERT INTO console_session (id_hash, token_id, expires_at) "
            "SELECT sha256('x'), id, now() + interval '8 hours 1 minute' FROM api_token"
        )


async def test_expired_sessions_are_deleted(service: Service, postgres: Postgres) -> None:
    """With the idempotency keys, in the background."""
    await service.use_cases.tokens.create("test", scopes=SCOPES)
    await postgres.execute(
        "INSERT INTO console_session (id_hash, token_id, expires_at) SELECT sha256('x'), id, now() FROM api_token"
    )
    await service.jobs.delete_expired()
    assert await postgres.fetchval("SELECT count(*) FROM console_session") == 0
