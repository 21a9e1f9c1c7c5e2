"""Tokens for OAUTHBEARER: from a file that is rewritten, and by client credentials."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import BasicAuth, web
from aiohttp.test_utils import TestServer
from aiokafka.errors import KafkaConnectionError

from service.environment import SettingsError, read
from service.kafka.client_credentials import ClientCredentials, ClientCredentialsTokens
from service.kafka_connection import kafka_connection
from service.settings import KafkaSettings

_SECRET = "hunter/2"  # noqa: S105 -- of one test


@dataclass
class _Endpoint:
    """A token endpoint; ``status`` and ``answer`` are its next responses."""

    url: str = ""
    status: int = 200
    answer: Any = None
    requests: list[dict[str, str]] = field(default_factory=list)

    async def respond(self, request: web.Request) -> web.Response:
        """Record the request."""
        login = BasicAuth.decode(request.headers["Authorization"])
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append({"login": f"{login.login}:{login.password}", **form})
        token = {"access_token": f"token-{len(self.requests)}", "expires_in": 100}
        headers = {"Location": f"{self.url}/elsewhere"} if self.status == 302 else {}
        body = token if self.answer is None else self.answer
        return web.json_response(body, status=self.status, headers=headers)


@asynccontextmanager
async def _endpoint() -> AsyncIterator[_Endpoint]:
    endpoint, app = _Endpoint(), web.Application()
    app.router.add_post("/token", endpoint.respond)
    async with TestServer(app) as server:
        endpoint.url = str(server.make_url("/token"))
        yield endpoint


@dataclass
class _Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def _tokens(endpoint: _Endpoint, clock: _Clock) -> ClientCredentialsTokens:
    client = ClientCredentials(endpoint.url, "the client", _SECRET, scope="kafka read")
    return ClientCredentialsTokens(lambda: client, timeout=5, clock=clock)


async def test_a_token_is_requested_once_and_renewed_before_its_end() -> None:
    """However many connections need one at the same time; the request is that of RFC 6749."""
    clock = _Clock()
    async with _endpoint() as endpoint:
        tokens = _tokens(endpoint, clock)
        assert set(await asyncio.gather(*(tokens.token() for _ in range(12)))) == {"token-1"}
        clock.now += 79
        assert await tokens.token() == "token-1"
        clock.now += 1
        assert await tokens.token() == "token-2"
    assert endpoint.requests[0] == {
        "login": "the%20client:hunter%2F2",
        "grant_type": "client_credentials",
        "scope": "kafka read",
    }
    assert len(endpoint.requests) == 2


async def test_a_valid_token_is_used_while_the_endpoint_fails() -> None:
    """Until its end; then connecting fails."""
    clock = _Clock()
    async with _endpoint() as endpoint:
        tokens = _tokens(endpoint, clock)
        await tokens.token()
        endpoint.status = 500
        clock.now += 90
        assert await tokens.token() == "token-1"
        clock.now += 10
        with pytest.raises(KafkaConnectionError, match="responds with 500"):
            await tokens.token()


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {"error": "invalid_client"}, "responds with 401"),
        (302, {}, "responds with 302"),
        (200, {}, "has no access_token"),
        (200, ["x"], "has no access_token"),
        (200, {"access_token": "x", "expires_in": "soon"}, "has no access_token"),
    ],
)
async def test_an_unusable_response_is_an_error_without_the_secret(status: int, answer: Any, words: str) -> None:
    """A redirect is not followed: it would send the secret to another host."""
    async with _endpoint() as endpoint:
        endpoint.status, endpoint.answer = status, answer
        with pytest.raises(KafkaConnectionError, match=words) as failed:
            await _tokens(endpoint, _Clock()).token()
    assert len(endpoint.requests) == 1
    assert "hunter" not in str(failed.value)


async def test_an_endpoint_that_does_not_respond_is_an_error() -> None:
    """With the reason."""
    client = ClientCredentials("http://127.0.0.1:1/token", "x", "y")
    with pytest.raises(KafkaConnectionError, match="refused"):
        await ClientCredentialsTokens(lambda: client, timeout=5).token()


_SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


def _environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in (_SASL | variables).items():
        monkeypatch.setenv(name, value)


async def test_a_token_in_a_file_is_read_for_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a client that was created before the file changed."""
    file = tmp_path / "token"
    file.write_text("first\n")
    _environment(monkeypatch, KAFKA_SASL_OAUTHBEARER_TOKEN_FILE=str(file))
    provider = kafka_connection(read(KafkaSettings)).security_options()["sasl_oauth_token_provider"]
    assert await provider.token() == "first"
    file.write_text("second\n")
    assert await provider.token() == "second"


async def test_user_and_password_in_files_are_read_for_each_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both change when credentials are issued for a limited time."""
    user, password = tmp_path / "user", tmp_path / "password"
    _environment(
        monkeypatch,
        KAFKA_SASL_MECHANISM="SCRAM-SHA-512",
        KAFKA_SASL_USERNAME_FILE=str(user),
        KAFKA_SASL_PASSWORD_FILE=str(password),
    )
    user.write_text("first")
    password.write_text("1")
    connection = kafka_connection(read(KafkaSettings))
    user.write_text("second")
    password.write_text("2")
    options = connection.security_options()
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("second", "2")


async def test_client_credentials_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token provider of each connection shares them."""
    async with _endpoint() as endpoint:
        _environment(
            monkeypatch,
            KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL=endpoint.url,
            KAFKA_SASL_OAUTHBEARER_CLIENT_ID="id",
            KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET="secret",
        )
        connection = kafka_connection(read(KafkaSettings))
        for _ in range(2):
            assert await connection.security_options()["sasl_oauth_token_provider"].token() == "token-1"
    assert endpoint.requests == [{"login": "id:secret", "grant_type": "client_credentials"}]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (
            {"KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://id/token"},
            "KAFKA_SASL_OAUTHBEARER_CLIENT_ID",
        ),
        ({"KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "ftp://id"}, "Must be an http or https URL"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "'GSSAPI' is not supported"),
        ({"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"}, "'AWS_MSK_IAM' is not supported"),
        ({}, "KAFKA_SASL_OAUTHBEARER_TOKEN: Needed for OAUTHBEARER"),
    ],
)
def test_incomplete_and_unsupported_settings_are_refused_by_name(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start."""
    _environment(monkeypatch, **variables)
    with pytest.raises(SettingsError, match=named):
        kafka_connection(read(KafkaSettings))
