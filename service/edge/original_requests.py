"""The request that a proxy asks about: its method, project and public key.

Proxies pass headers of their client on. A client could therefore add the header of another proxy, or a second key, to
have something else decided than what the ingest service receives. So everything that names the method, the URI, or
the key must agree; otherwise the request is refused.
"""

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import istr

from service.domain.model import KEY_HALF

PATH: Final = "/auth"

_ORIGINAL_URI: Final = istr("X-Original-URI")
_FORWARDED_URI: Final = istr("X-Forwarded-Uri")
_ENVOY_PATH: Final = istr("X-Envoy-Original-Path")
_ORIGINAL_METHOD: Final = istr("X-Original-Method")
_FORWARDED_METHOD: Final = istr("X-Forwarded-Method")
_SENTRY_AUTH: Final = istr("X-Sentry-Auth")
_AUTHORIZATION: Final = istr("Authorization")
_OPTIONS_OR_NONE: Final = ("OPTIONS", None)
_MAX_URI: Final = 8192

_INGEST_PATH: Final = re.compile(r"(?:/[\w.~-]+)*?/api/([0-9]{1,19})/([\w.~/-]*)", re.ASCII)
"""An ingest path, possibly behind the path of the ingest URL: the project, and the rest."""

_DOUBTFUL: Final = re.compile(r"//|/\.\.?(?:/|$)|/api/[0-9]+/(?:.*/)?api/[0-9]+/")
"""Paths that two programs can understand as different projects."""

_KEY_IN_PATH: Final = re.compile(r"(?:unreal|cron/[^/]+)/([^/]+)/?")
_KEY_IN_HEADER: Final = re.compile(r"(?:^|[\s,])sentry_key\s*=\s*\"?([^\",\s]*)", re.IGNORECASE)

USUAL: Final = re.compile(
    (
        r"/api/([1-9][0-9]{0,18})/[a-z]+/(?:\nSentry (?:<pair>, ?)*sentry_key=([0-9a-f]{32})(?:, ?<pair>)*"
        r"|\?(?:<argument>&){0,20}sentry_key=([0-9a-f]{32})(?:&<argument>){0,20}\n)"
    )
    .replace("<pair>", r'sentry_(?!key)[a-z]+=[^\s,"]*')
    .replace("<argument>", r"(?!sentry_key=|glitchtip_key=)[a-z_]+=[^&\s]*")
)
"""URI, line end and X-Sentry-Auth as SDKs send them, with a key in one: parsed faster, with the same result."""


class OriginalRequest(NamedTuple):
    """What decides about a request. ``reason``: why it is refused without looking its key up; "" if it is not."""

    reason: str
    project_id: int = 0
    public_key: str = ""


PREFLIGHT: Final = OriginalRequest("preflight")
"""A request that passes without a key."""


def original_request(request: web.Request) -> OriginalRequest:
    """Return the request that a request to /auth is about."""
    headers, own_path = request.headers, _path_behind(request.raw_path)
    original, forwarded = headers.get(_ORIGINAL_METHOD), headers.get(_FORWARDED_METHOD)
    if original in _OPTIONS_OR_NONE and forwarded in _OPTIONS_OR_NONE:
        # The method of the request itself is that of the proxy, unless no header has another or a path follows.
        is_named = (original is not None or forwarded is not None) and own_path is None
        if is_named or request.method == "OPTIONS":
            return PREFLIGHT
    uri = headers.get(_ORIGINAL_URI)
    for other in (headers.get(_FORWARDED_URI), headers.get(_ENVOY_PATH), own_path):
        if other is not None:
            if uri is not None and uri != other:
                return OriginalRequest("conflicting_uris")
            uri = other
    if uri is None:
        return OriginalRequest("no_uri")
    sentry_auth = "\n".join(headers.getall(_SENTRY_AUTH, ()))
    authorization = "\n".join(headers.getall(_AUTHORIZATION, ()))
    return parse_request(uri, sentry_auth, authorization)


def _path_behind(raw_path: str) -> str | None:
    """Return the path behind /auth; None if there is none."""
    behind = raw_path[len(PATH) :]
    return behind if behind[:1] == "/" and behind[1:2] not in {"", "?"} else None


@lru_cache(maxsize=1024)  # few, at most 25 MB: a cache that exceeds the processor's costs more than parsing again
def parse_request(uri: str, sentry_auth: str, authorization: str) -> OriginalRequest:
    """Parse the URI and the two headers, which can have several values: each is a line."""
    if not authorization and len(uri) <= _MAX_URI and (usual := USUAL.fullmatch(f"{uri}\n{sentry_auth}")):
        return OriginalRequest("", int(usual[1]), usual[2] or usual[3])
    path, _, query = uri.partition("?")
    found = _INGEST_PATH.fullmatch(path) if len(uri) <= _MAX_URI else None
    if found is None or _DOUBTFUL.search(path):
        return OriginalRequest("no_project")
    keys = set(_KEY_IN_HEADER.findall(sentry_auth))
    if query:
        keys.update(_keys_in_query(query))
    for value in authorization.split("\n") if authorization else ():
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "sentry":
            keys.update(_KEY_IN_HEADER.findall(credentials))
        elif scheme.lower() == "basic":
            keys.add(_user_of(credentials))
    if in_path := _KEY_IN_PATH.fullmatch(found[2]):
        keys.add(in_path[1])
    if len(keys) != 1:
        return OriginalRequest("conflicting_keys" if keys else "no_key")
    public_key = keys.pop()
    if not KEY_HALF.fullmatch(public_key):
        return OriginalRequest("unknown_key")
    return OriginalRequest("", int(found[1]), public_key)


def _user_of(credentials: str) -> str:
    """Return the user of Basic credentials; "" if they are malformed."""
    try:
        return base64.b64decode(credentials.strip()).decode("latin-1").partition(":")[0]
    except ValueError:
        return ""


def _keys_in_query(query: str) -> Iterable[str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return ["too many parameters"]
    return [value for name, value in pairs if name in {"sentry_key", "glitchtip_key"}]
