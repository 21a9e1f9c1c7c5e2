"""Look-ups of the states of keys for other services: /keys/, guarded by EDGE_TOKEN."""

import hmac
from typing import Final

import orjson
from aiohttp import web
from multidict import istr

from projectkeys_consumer import NotReadyError
from service.domain.model import KEY_HALF
from service.edge.client_keys import KeySource
from service.edge.relay_requests import parse_object
from service.edge.rotating_secrets import RotatingSecret
from service.http.errors import NOT_FOUND, RETRY_AFTER, HttpError
from service.http.request import read_bytes
from service.http.server.response import Response, bytes_response, json_response
from service.http.server.state import Request

_TOKEN_HEADER: Final = istr("X-Edge-Token")
_MAX_KEYS: Final = 500


class EdgeToken:
    """The token of the edge, which is "" if there is none."""

    def __init__(self, token: RotatingSecret) -> None:
        self._token = token

    def __bool__(self) -> bool:
        return bool(self._token.current)

    def is_in(self, request: web.Request, *, accepts_bearer: bool = False) -> bool:
        """Return whether a request has the token in X-Edge-Token, or if accepted as a bearer token."""
        sent = request.headers.get(_TOKEN_HEADER)
        if sent is None and accepts_bearer:
            scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
            sent = sent if scheme.lower() == "bearer" else ""
        given = (sent or "").encode(errors="replace")
        return any(hmac.compare_digest(given, token) for token in self._token.accepted)


class Lookups:
    """The handlers.

    Args:
        keys: The copy of the topic.
        token: The token that requests must have.
        is_open: Whether requests need no token if there is none; for development.
    """

    def __init__(self, keys: KeySource, token: EdgeToken, *, is_open: bool) -> None:
        self._keys = keys
        self._token = token
        self._is_open = is_open

    async def get_key(self, request: Request) -> Response:
        """Return the state of a key as in the topic."""
        self._check_token(request)
        value = self._value(request.path_variables["public_key"])
        if value is None:
            raise HttpError(404, NOT_FOUND)
        return bytes_response(value)

    async def get_keys(self, request: web.Request) -> Response:
        """Return the states of several keys; null for those that do not exist."""
        self._check_token(request)
        public_keys = parse_object(await read_bytes(request, share=0)).get("publicKeys")
        if not isinstance(public_keys, list) or len(public_keys) > _MAX_KEYS:
            raise HttpError(400, f"publicKeys must be a list of at most {_MAX_KEYS} public keys.")
        if not all(isinstance(key, str) and KEY_HALF.fullmatch(key) for key in public_keys):
            raise HttpError(400, "publicKeys must contain only public keys: 32 lower-case hexadecimal digits.")
        values = {key: self._value(key) for key in public_keys}
        return json_response({"keys": {key: value and orjson.Fragment(value) for key, value in values.items()}})

    def _value(self, public_key: str) -> bytes | None:
        try:
            return self._keys.value(public_key)
        except NotReadyError:
            raise HttpError(503, "The keys are not loaded yet. Try again.", RETRY_AFTER) from None

    def _check_token(self, request: web.Request) -> None:
        if not self._token and not self._is_open:
            raise HttpError(404, NOT_FOUND)
        if self._token and not self._token.is_in(request, accepts_bearer=True):
            raise HttpError(401, "The token is missing or wrong: send EDGE_TOKEN as a bearer token.")
