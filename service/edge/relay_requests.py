"""The endpoints of Relay's protocol under /api/0/relays/."""

import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from aiohttp import web
from multidict import istr

from service.edge.known_relays import KnownRelays, parse_relay_id
from service.edge.metrics import EdgeMetrics
from service.edge.outcomes import Outcomes
from service.edge.project_configs import ProjectConfigs, parse_query
from service.edge.registrations import ChallengeError, Challenges
from service.edge.signatures import SignatureError, verify
from service.http.errors import RETRY_AFTER, HttpError, body_too_large
from service.http.request import parse_json, read_bytes
from service.http.server.response import Response, json_response
from service.kafka.errors import KafkaUnavailableError

_ID_HEADER: Final = istr("X-Sentry-Relay-Id")
_SIGNATURE_HEADER: Final = istr("X-Sentry-Relay-Signature")
_MAX_RELAY_IDS: Final = 1000
_MAX_REGISTRATION: Final = 8192
"""Bytes of the body of a registration, which is parsed before its sender is known; Relay's have 500."""
_ACCEPTED: Final = 202


class RelayRequests:
    """The handlers.

    Args:
        relays: The relays that may connect.
        challenges: Issues and checks the tokens of registration.
        configs: Answers queries of configurations.
        outcomes: Publishes outcomes.
        metrics: Counts refusals, and records the last request of each relay.
        clock: Returns seconds since 1970.
    """

    def __init__(
        self,
        relays: KnownRelays,
        challenges: Challenges,
        configs: ProjectConfigs,
        outcomes: Outcomes,
        metrics: EdgeMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._relays = relays
        self._challenges = challenges
        self._configs = configs
        self._outcomes = outcomes
        self._metrics = metrics
        self._clock = clock

    async def live(self, _request: web.Request) -> Response:
        """Respond that the edge is reachable; a relay asks while it considers it unreachable, without a signature."""
        return json_response({"is_healthy": True})

    async def challenge(self, request: web.Request) -> Response:
        """Start a registration: verify that the relay has the key that it names, and return a token."""
        relay_id = self._relay_id(request)
        raw = await _read_registration(request)
        public_key = parse_object(raw).get("public_key")
        if not isinstance(public_key, str):
            raise HttpError(400, "public_key is missing.")
        self._verify(request, public_key, raw)
        _check_same_relay(raw, relay_id)
        if not self._relays.register(relay_id, public_key):
            self._refuse("unknown_relay", HttpError(403, "Relay is not allowed to register"))
        return json_response({"relay_id": relay_id, "token": self._challenges.issue(relay_id, public_key)})

    async def response(self, request: web.Request) -> Response:
        """Complete a registration."""
        relay_id = self._relay_id(request)
        raw = await _read_registration(request)
        token = parse_object(raw).get("token")
        try:
            public_key = self._challenges.check(token if isinstance(token, str) else "", relay_id)
        except ChallengeError as error:
            self._refuse("challenge", HttpError(401, str(error)))
        self._verify(request, public_key, raw)
        _check_same_relay(raw, relay_id)
        if self._relays.public_key(relay_id) != public_key:
            self._refuse("unknown_relay", HttpError(403, "Relay is not allowed to register"))
        self._metrics.set_relay_seen(relay_id)
        return json_response({"relay_id": relay_id})

    async def project_configs(self, request: web.Request) -> Response:
        """Return configurations of keys, and the global configuration."""
        body = await self._verified_body(request)
        if request.query.get("version") != "3":
            raise HttpError(400, "Only version=3 is supported.")
        return json_response(await self._configs.answer(parse_query(body)))

    async def public_keys(self, request: web.Request) -> Response:
        """Return the public keys of relays."""
        relay_ids = (await self._verified_body(request)).get("relay_ids") or []
        if not isinstance(relay_ids, list) or len(relay_ids) > _MAX_RELAY_IDS:
            raise HttpError(400, f"relay_ids must be a list of at most {_MAX_RELAY_IDS} ids.")
        keys = {text: self._relays.public_key(parse_relay_id(text) or "") for text in relay_ids if _is_text(text)}
        relays = {text: key and {"publicKey": key, "internal": True} for text, key in keys.items()}
        return json_response({"public_keys": keys, "relays": relays})

    async def outcomes(self, request: web.Request) -> Response:
        """Publish outcomes."""
        try:
            await self._outcomes.publish(await self._verified_body(request))
        except KafkaUnavailableError as error:
            raise HttpError(503, f"The outcomes cannot be published: {error}.", RETRY_AFTER) from None
        return json_response({}, status=_ACCEPTED)

    async def _verified_body(self, request: web.Request) -> dict[str, Any]:
        """Return the body of a request of a known relay; it is parsed only if the signature is valid."""
        relay_id = self._relay_id(request)
        public_key = self._relays.public_key(relay_id)
        if public_key is None:
            self._refuse("unknown_relay", HttpError(401, "Unknown relay", closes_connection=True))
        raw = await read_bytes(request, share=hash(relay_id))
        self._verify(request, public_key, raw)
        self._metrics.set_relay_seen(relay_id)
        return parse_object(raw)

    def _relay_id(self, request: web.Request) -> str:
        relay_id = parse_relay_id(request.headers.get(_ID_HEADER))
        if relay_id is None:
            raise HttpError(401, "X-Sentry-Relay-Id is missing or no UUID.", closes_connection=True)
        return relay_id

    def _verify(self, request: web.Request, public_key: str, raw: bytes) -> None:
        try:
            verify(public_key, request.headers.get(_SIGNATURE_HEADER, ""), raw, now=self._clock())
        except SignatureError as error:
            self._refuse("signature", HttpError(401, f"Invalid relay signature: {error}"))

    def _refuse(self, reason: str, error: HttpError) -> NoReturn:
        self._metrics.relay_refusals.labels(reason).inc()
        raise error


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in ``raw``.

    Raises:
        HttpError: 400; it is none.
    """
    body = parse_json(raw)
    if not isinstance(body, dict):
        raise HttpError(400, "The body must be a JSON object.")
    return body


async def _read_registration(request: web.Request) -> bytes:
    if (request.content_length or 0) > _MAX_REGISTRATION:
        raise body_too_large(_MAX_REGISTRATION)
    raw = await read_bytes(request, share=0)
    if len(raw) > _MAX_REGISTRATION:  # sent in chunks
        raise body_too_large(_MAX_REGISTRATION)
    return raw


def _check_same_relay(raw: bytes, relay_id: str) -> None:
    if parse_relay_id(parse_object(raw).get("relay_id")) != relay_id:
        raise HttpError(400, "relay_id is not that of the header X-Sentry-Relay-Id.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
