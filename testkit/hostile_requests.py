"""Hostile requests to every endpoint of the edge: bodies, keys and headers that no client should send."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.domain.model import new_key_half

_RELAYS: Final = "/api/0/relays/"
_SIGNED: Final = 0.9
"""Share of the requests of a relay with a valid signature."""

_PATHS: Final = (
    *(f"{_RELAYS}{path}" for path in ("projectconfigs/?version=3", "publickeys/", "outcomes/")),
    *(f"{_RELAYS}register/{step}/" for step in ("challenge", "response")),
    *("/keys/lookup", "/auth", "/auth?status=403"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**63, 1e308, "", "\x00", "é" * 300, [], {}, [[]], [None] * 600),
    *(new_key_half(), [new_key_half()] * 501, {"a": {"b": []}}, ["x" * 32, 5, {}], "A" * 43),
)
_MEMBERS: Final = (
    *("publicKeys", "revisions", "global", "fullConfig", "relay_ids", "outcomes", "relay_id", "public_key"),
    *("token", "version", "timestamp", "outcome", "project_id"),
)
_NO_JSON: Final = (b"[" * 900, b'{"a":' * 900, b"\xff\xfe", b'"' + b"a" * 5000, b"1" * 5000, b"NaN")
_URI_HEADERS: Final = ("X-Original-URI", "X-Forwarded-Uri", "X-Envoy-Original-Path")
_OTHER_HEADERS: Final = ("X-Sentry-Auth", "Authorization", "X-Original-Method", "X-Forwarded-Method")
_TEXTS: Final = (
    *("", "/", "//", "/api/", "/api/1/envelope/", "/api/99999999999999999999/store/", "/api/1/../2/store/"),
    *("/api/1/cron//x/", "/api/1/unreal/" + "f" * 32 + "/", "%", "%zz", "?" * 100, "/a" * 3000, "é", "\t"),
    *(
        "?sentry_key=",
        "?sentry_key=" + "0" * 32,
        "?" + "a=b&" * 500,
        "Sentry sentry_key",
        "Sentry sentry_key=",
    ),
    *("Basic", "Basic !", "Basic AAAA", "basic Og==", "Sentry sentry_key=" + "g" * 4000, "OPTIONS", "POST"),
)


@dataclass(frozen=True, slots=True)
class HostileRequest:
    """A POST request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


def hostile_requests(
    source: random.Random, relay_id: str, sign: Callable[[bytes], Mapping[str, str]], token: str
) -> Iterator[HostileRequest]:
    """Yield requests without end.

    Args:
        source: Makes them repeatable.
        relay_id: The id of a relay that the edge knows.
        sign: Returns the headers of a request of this relay for a body.
        token: The token of the edge.
    """
    for body in _bodies(source, relay_id):
        path = source.choice(_PATHS)
        if not path.startswith(_RELAYS):
            headers = {"X-Edge-Token": token, **(_headers(source) if path.startswith("/auth") else {})}
        elif source.random() < _SIGNED:
            headers = dict(sign(body))
        else:
            headers = {"X-Sentry-Relay-Id": relay_id}
        yield HostileRequest(path, headers, body)


def _headers(source: random.Random) -> dict[str, str]:
    """Return headers of a proxy that can contradict each other."""
    names = [source.choice(_URI_HEADERS), *source.sample(_OTHER_HEADERS, 2)]
    return {name: "".join(source.choices(_TEXTS, k=source.randrange(1, 3))) for name in names}


def _bodies(source: random.Random, relay_id: str) -> Iterator[bytes]:
    """Yield bodies: objects with members of any type, truncated, mutated, and no JSON at all."""
    while True:
        members = {source.choice(_MEMBERS): source.choice(_VALUES) for _ in range(source.randrange(5))}
        if source.random() < 0.5:  # noqa: PLR2004 -- one half
            members["relay_id"] = relay_id
        raw = orjson.dumps(members)
        yield raw
        yield raw[: source.randrange(len(raw))]
        mutated = bytearray(raw)
        mutated[source.randrange(len(raw))] = source.randrange(256)
        yield bytes(mutated)
        yield source.choice(_NO_JSON)
