"""The configurations of keys that relays receive: Relay's endpoint `projectconfigs`, version 3."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.domain.model import KEY_HALF
from service.edge.client_keys import ClientKey, ClientKeys
from service.edge.metrics import EdgeMetrics
from service.edge.unknown_keys import UnknownKeys
from service.http.errors import HttpError

_MAX_KEYS: Final = 500
"""Keys that one response decides about, the default of Relay's `cache.batch_size`; further ones are pending."""

_MAX_WAIT: Final = 1.0
"""Seconds for which a request with unknown keys waits; Relay's timeout is 5 s."""

_REVISION_BYTES: Final = 8

_LIMITED_CATEGORIES: Final = ("default", "error", "security")
"""The categories that a key's rate limit covers in Sentry."""


@dataclass(frozen=True, slots=True)
class ConfigQuery:
    """A request of a relay: whether it asks for the global configuration, and its keys with the revisions it has."""

    wants_global: bool
    revisions: Mapping[str, str | None]


def parse_query(body: Any) -> ConfigQuery:
    """Parse the body of a request; skip members of ``publicKeys`` that cannot be public keys.

    Raises:
        HttpError: 400; the body has another form.
    """
    if not isinstance(body, dict):
        raise HttpError(400, "The body must be a JSON object.")
    keys, revisions = body.get("publicKeys") or [], body.get("revisions")
    if not isinstance(keys, list):
        raise HttpError(400, "publicKeys must be a list.")
    if not isinstance(revisions, list) or len(revisions) != len(keys):
        revisions = [None] * len(keys)
    pairs = {
        key: revision if isinstance(revision, str) else None
        for key, revision in zip(keys, revisions, strict=True)
        if isinstance(key, str) and KEY_HALF.fullmatch(key)
    }
    return ConfigQuery(body.get("global") is True, pairs)


class ProjectConfigs:
    """Answers the queries of relays.

    Args:
        keys: The known keys.
        unknown: Decides about keys that are not known.
        features: The features of every project.
        metrics: Counts the keys by answer.
    """

    def __init__(self, keys: ClientKeys, unknown: UnknownKeys, features: Sequence[str], metrics: EdgeMetrics) -> None:
        self._keys = keys
        self._unknown = unknown
        self._features = list(features)
        self._metrics = metrics

    async def answer(self, query: ConfigQuery) -> dict[str, Any]:
        """Return the body of the response; every key is a member of ``configs``, ``pending`` or ``unchanged``."""
        response: dict[str, Any] = {"configs": {}, "pending": [], "unchanged": []}
        if query.wants_global:
            response |= {"global": {}, "globalStatus": "ready"}
        asked = list(query.revisions)
        decided = asked[:_MAX_KEYS] if self._keys.loaded else []
        pending = asked[len(decided) :]
        unknown = [key for key in decided if self._keys.is_unknown(key)]
        absent = frozenset[str]()
        if unknown:
            absent = await self._unknown.find_absent(
                unknown, max_wait=_MAX_WAIT, answers_others=len(unknown) < len(decided)
            )
        for public_key in decided:
            if self._keys.is_unknown(public_key) and public_key not in absent:
                pending.append(public_key)
            else:
                self._add(public_key, query.revisions[public_key], response)
        response["pending"] = pending
        for name in ("configs", "pending", "unchanged"):
            self._metrics.configs.labels(name).inc(len(response[name]))
        return response

    def _add(self, public_key: str, revision: str | None, response: dict[str, Any]) -> None:
        """Add the answer for a key whose state is certain."""
        key = self._keys.find(public_key)
        if key is None or not self._keys.accepts(key):
            response["configs"][public_key] = None  # to Relay, "unchanged" would mean that it stays as it was
            return
        config, current = render_config(key, self._features)
        if revision == current:
            response["unchanged"].append(public_key)
        else:
            response["configs"][public_key] = orjson.Fragment(config)


def render_config(key: ClientKey, features: Sequence[str]) -> tuple[bytes, str]:
    """Return the configuration of an active key as JSON, and its revision.

    The revision is a digest of the rest of the configuration, so that all replicas agree. An object without
    ``projectId`` would accept the events of every project, and an unknown type would make Relay retry for ever.
    """
    number = {} if key.key_id is None else {"numericId": key.key_id}
    config = orjson.dumps(
        {
            "disabled": False,
            "projectId": key.project_id,
            "organizationId": key.organization_id,
            "publicKeys": [{"publicKey": key.public_key, **number}],
            "config": {"allowedDomains": ["*"], "features": features, "quotas": _quotas(key)},
        }
    )
    revision = hashlib.blake2b(config, digest_size=_REVISION_BYTES).hexdigest()
    return b'{"rev":"%b",%b' % (revision.encode(), config[1:]), revision


def _quotas(key: ClientKey) -> list[dict[str, Any]]:
    """Return the rate limit as a quota; Relay applies it by the number of the key, so without one there is none."""
    if key.limit is None or key.key_id is None:
        return []
    quota = {
        "id": "key_limit",
        "scope": "key",
        "scopeId": str(key.key_id),
        "categories": _LIMITED_CATEGORIES,
        "limit": key.limit,
        "window": key.window,
        "reasonCode": "key_quota",
    }
    return [quota]
