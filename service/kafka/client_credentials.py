"""Access tokens for OAUTHBEARER by OAuth 2.0 client credentials: RFC 6749, section 4.4."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from aiokafka.errors import KafkaConnectionError

_MAX_RESPONSE: Final = 65_536
"""Bytes."""

_DEFAULT_LIFETIME: Final = 300.0
"""Seconds that a token is valid if the response does not say so."""

_RENEW_AFTER: Final = 0.8
"""The share of a token's lifetime after which it is renewed; until its end the former token is used if that fails."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The client of a token endpoint."""

    endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


class ClientCredentialsTokens:
    """Requests tokens and keeps each until shortly before its end.

    Args:
        read: Returns the present credentials.
        timeout: The longest wait for the endpoint in seconds.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        read: Callable[[], ClientCredentials],
        *,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._timeout = timeout
        self._clock = clock
        self._token = ""
        self._renew_at = self._ends_at = 0.0
        self._renewal: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """Return a valid token.

        Raises:
            KafkaConnectionError: The endpoint does not return one; the message contains no secret.
        """
        if self._clock() >= self._renew_at:
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self._renew())
            try:
                await asyncio.shield(self._renewal)  # another connection may wait for it too
            except KafkaConnectionError:
                if self._clock() >= self._ends_at:
                    raise
        return self._token

    async def _renew(self) -> None:
        # In a thread: the package may not import an HTTP client, and a request an hour does not need one.
        token, lifetime = await asyncio.to_thread(_request_token, self._read(), self._timeout)
        now = self._clock()
        self._token, self._renew_at, self._ends_at = token, now + lifetime * _RENEW_AFTER, now + lifetime


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect, which would send the secret to another host."""

    def redirect_request(self, *_: object) -> None:
        """Return no request."""


def _request_token(client: ClientCredentials, timeout: float) -> tuple[str, float]:
    """Return a token and its lifetime in seconds."""
    login = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
    fields = {"grant_type": "client_credentials"} | ({"scope": client.scope} if client.scope else {})
    headers = {
        "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
        "Accept": "application/json",
    }
    request = Request(client.endpoint, urlencode(fields).encode(), headers)  # noqa: S310 -- the setting is http or https
    try:
        with build_opener(_NoRedirect).open(request, timeout=timeout) as response:
            answer = json.loads(response.read(_MAX_RESPONSE))
        return str(answer["access_token"]), float(answer.get("expires_in") or _DEFAULT_LIFETIME)
    except HTTPError as error:
        error.close()
        raise KafkaConnectionError(f"the token endpoint {client.endpoint} responds with {error.code}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, OSError) else "its response has no access_token"
        raise KafkaConnectionError(f"the token endpoint {client.endpoint} cannot be used: {reason}") from None
