"""The request that a proxy asks about: its method, project and public key.

Proxies pass headers of their client on. A client could therefore add the header of another proxy, or a second key, to
have something else decided than what the ingest service receives. So everything that names the method, the URI, or
the key must agree; otherwise the request is refused.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import istr

from service.edge.project_configs import PUBLIC_KEY

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
_CACHED: Final = 16_384
_MAX_CACHED: Final = 512
"""Parsed paths and headers that are kept, since clients send the same ones again, and the length up to which they
are: at most 12 MB for each of the two."""

_INGEST_PATH: Final = re.compile(r"(?:/[\w.~-]+)*?/api/([0-9]{1,19})/([\w.~/-]*)", re.ASCII)
"""An ingest path, possibly behind the path of the ingest URL: the project, and the rest."""

_DOUBTFUL: Final = re.compile(r"//|/\.\.?(?:/|$)|/api/[0-9]+/(?:.*/)?api/[0-9]+/")
"""Paths that two programs can understand as different projects."""

_KEY_IN_PATH: Final = re.compile(r"(?:unreal|cron/[^/]+)/([^/]+)/?")
_KEY_IN_HEADER: Final = re.compile(r"(?:^|[\s,])sentry_key\s*=\s*\"?([^\",\s]*)", re.IGNORECASE)
_QUERY_NAMES: Final = ("sentry_key", "glitchtip_key")


@dataclass(slots=True)  # not frozen: creating it would take three times as long
class OriginalRequest:
    """What decides about a request. ``reason``: why it is refused without looking its key up; "" if it is not."""

    is_preflight: bool
    project_id: int = 0
    public_key: str = ""
    reason: str = ""


def original_request(request: web.Request) -> OriginalRequest:
    """Return the request that a request to /auth is about."""
    headers, raw_path = request.headers, request.raw_path
    uri, conflicts = headers.get(_ORIGINAL_URI), False
    for other in (headers.get(_FORWARDED_URI), headers.get(_ENVOY_PATH), _path_behind(raw_path)):
        if other is not None:
            conflicts = conflicts or uri not in {None, other}
            uri = other
    is_preflight = _is_preflight(request)
    if uri is None or conflicts:
        return OriginalRequest(is_preflight, reason="no_uri" if uri is None else "conflicting_uris")
    path, _, query = uri.partition("?")
    if len(uri) > _MAX_URI:
        return OriginalRequest(is_preflight, reason="no_project")
    project_id, key_in_path = _cached_path(path) if len(path) <= _MAX_CACHED else _parse_path(path)
    if project_id is None:
        return OriginalRequest(is_preflight, reason="no_project")
    keys = set(_keys_in_headers(request))
    if query:
        keys.update(_keys_in_query(query))
    if key_in_path:
        keys.add(key_in_path)
    if len(keys) != 1:
        return OriginalRequest(is_preflight, reason="conflicting_keys" if keys else "no_key")
    public_key = keys.pop()
    if not PUBLIC_KEY.fullmatch(public_key):
        return OriginalRequest(is_preflight, reason="unknown_key")
    return OriginalRequest(is_preflight, project_id, public_key)


def _path_behind(raw_path: str) -> str | None:
    """Return the path behind /auth; None if there is none."""
    own = raw_path[len(PATH) :]
    return own if own.startswith("/") and own[1:2] not in {"", "?"} else None


def _is_preflight(request: web.Request) -> bool:
    """Return whether every method is OPTIONS: those in headers, and that of a request without one or with a path."""
    original, forwarded = request.headers.get(_ORIGINAL_METHOD), request.headers.get(_FORWARDED_METHOD)
    if original not in _OPTIONS_OR_NONE or forwarded not in _OPTIONS_OR_NONE:
        return False
    is_named = original is not None or forwarded is not None
    return (is_named and _path_behind(request.raw_path) is None) or request.method == "OPTIONS"


def _parse_path(path: str) -> tuple[int | None, str]:
    """Return the project and the key in a path; None for a path that is none of an ingest service."""
    found = _INGEST_PATH.fullmatch(path)
    if found is None or _DOUBTFUL.search(path):
        return None, ""
    in_path = _KEY_IN_PATH.fullmatch(found[2])
    return int(found[1]), in_path[1] if in_path else ""


_cached_path: Final = lru_cache(maxsize=_CACHED)(_parse_path)


def _keys_in_headers(request: web.Request) -> list[str]:
    headers = request.headers
    keys = [key for value in headers.getall(_SENTRY_AUTH, ()) for key in _keys_in_text(value)]
    for value in headers.getall(_AUTHORIZATION, ()):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "sentry":
            keys += _keys_in_text(credentials)
        elif scheme.lower() == "basic":
            keys.append(_user_of(credentials))
    return keys


def _keys_in_text(text: str) -> list[str]:
    """Return the keys in a value such as ``Sentry sentry_key=…, sentry_version=7``; do not modify the list."""
    return _cached_keys(text) if len(text) <= _MAX_CACHED else _KEY_IN_HEADER.findall(text)


_cached_keys: Final = lru_cache(maxsize=_CACHED)(_KEY_IN_HEADER.findall)


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
    return [value for name, value in pairs if name in _QUERY_NAMES]
