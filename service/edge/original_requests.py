"""The request that a proxy asks about: its method, project and public key.

Proxies pass headers of their client on. A client could therefore add the header of another proxy, or a second key, to
have something else decided than what the ingest service receives. So everything that names the method, the URI, or
the key must agree; otherwise the request is refused.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import istr

from service.edge.project_configs import PUBLIC_KEY

PATH: Final = "/auth"

_URI_HEADERS: Final = (istr("X-Original-URI"), istr("X-Forwarded-Uri"), istr("X-Envoy-Original-Path"))
_METHOD_HEADERS: Final = (istr("X-Original-Method"), istr("X-Forwarded-Method"))
_SENTRY_AUTH: Final = istr("X-Sentry-Auth")
_AUTHORIZATION: Final = istr("Authorization")
_MAX_URI: Final = 8192

_INGEST_PATH: Final = re.compile(r"(?:/[\w.~-]+)*?/api/([0-9]{1,19})/([\w.~/-]*)", re.ASCII)
"""An ingest path, possibly behind the path of the ingest URL: the project, and the rest."""

_DOUBTFUL: Final = re.compile(r"//|/\.\.?(?:/|$)|/api/[0-9]+/(?:.*/)?api/[0-9]+/")
"""Paths that two programs can understand as different projects."""

_KEY_IN_PATH: Final = re.compile(r"(?:unreal|cron/[^/]+)/([^/]+)/?")
_KEY_IN_HEADER: Final = re.compile(r"(?:^|[\s,])sentry_key\s*=\s*\"?([^\",\s]*)", re.IGNORECASE)
_QUERY_NAMES: Final = ("sentry_key", "glitchtip_key")


@dataclass(frozen=True, slots=True)
class OriginalRequest:
    """What decides about a request. ``reason``: why it is refused without looking its key up; "" if it is not."""

    is_preflight: bool
    project_id: int = 0
    public_key: str = ""
    reason: str = ""


def original_request(request: web.Request) -> OriginalRequest:
    """Return the request that a request to /auth is about."""
    headers = request.headers
    own = request.raw_path.removeprefix(PATH)
    uris = {value for name in _URI_HEADERS if (value := headers.get(name)) is not None}
    forwards_path = own.startswith("/") and own[1:2] not in {"", "?"}
    if forwards_path:
        uris.add(own)
    methods = {value for name in _METHOD_HEADERS if (value := headers.get(name)) is not None}
    if forwards_path or not methods:
        methods.add(request.method)
    is_preflight = methods == {"OPTIONS"}
    if len(uris) != 1:
        return OriginalRequest(is_preflight, reason="conflicting_uris" if uris else "no_uri")
    return _parse(uris.pop(), request, is_preflight=is_preflight)


def _parse(uri: str, request: web.Request, *, is_preflight: bool) -> OriginalRequest:
    path, _, query = uri.partition("?")
    found = _INGEST_PATH.fullmatch(path)
    if found is None or len(uri) > _MAX_URI or _DOUBTFUL.search(path):
        return OriginalRequest(is_preflight, reason="no_project")
    keys = set(_keys_in_headers(request))
    if query:
        keys.update(_keys_in_query(query))
    if in_path := _KEY_IN_PATH.fullmatch(found[2]):
        keys.add(in_path[1])
    if len(keys) != 1:
        return OriginalRequest(is_preflight, reason="conflicting_keys" if keys else "no_key")
    public_key = keys.pop()
    if not PUBLIC_KEY.fullmatch(public_key):
        return OriginalRequest(is_preflight, reason="unknown_key")
    return OriginalRequest(is_preflight, int(found[1]), public_key)


def _keys_in_headers(request: web.Request) -> Iterable[str]:
    for value in request.headers.getall(_SENTRY_AUTH, ()):
        yield from _KEY_IN_HEADER.findall(value)
    for value in request.headers.getall(_AUTHORIZATION, ()):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "sentry":
            yield from _KEY_IN_HEADER.findall(credentials)
        elif scheme.lower() == "basic":
            yield _user_of(credentials)


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
