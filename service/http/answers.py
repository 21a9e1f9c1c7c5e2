"""Answers: JSON bodies, the headers that all of them carry, and the shapes that clients read."""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict

from service.domain.dsn import Ingest, dsn_urls, endpoints
from service.domain.errors import ProjectKeyError
from service.domain.events import wire_loader_options, wire_rate_limit, wire_time
from service.domain.model import BROWSER_SDK_CHOICES, Organization, Project, ProjectKey
from service.http.refusals import Refusal, of_domain_error

_EVERY_ANSWER: Final = {
    "Content-Language": "en",
    "Vary": "Accept-Language, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "X-XSS-Protection": "1; mode=block",
    "Cache-Control": "no-store",
    "Server": "projectkeys",
}

_CHOICES: Final = {"choices": [[version, version] for version in BROWSER_SDK_CHOICES]}


class Headers:
    """Header sets, each made once; an answer takes a copy."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], CIMultiDict[str]] = {}

    def of(self, allow: str, *, body: bool) -> CIMultiDict[str]:
        """The headers of an answer of a resource that allows these methods; not to be changed."""
        at = (allow, body)
        made = self._made.get(at)
        if made is None:
            made = CIMultiDict(_EVERY_ANSWER)
            if allow:
                made["Allow"] = allow
            if body:
                made["Content-Type"] = "application/json"
            self._made[at] = made
        return made


_HEADERS: Final = Headers()


def json_answer(
    body: Any, *, status: int = 200, allow: str = "", headers: Mapping[str, str] | None = None
) -> web.Response:
    """``body`` as compact UTF-8 JSON.

    Args:
        body: what orjson can write.
        status: the HTTP status.
        allow: the methods of the resource, for the header.
        headers: more headers.
    """
    try:
        text = orjson.dumps(body)
    except TypeError:  # a refusal that quotes a lone surrogate, which UTF-8 cannot write
        text = json.dumps(body, separators=(",", ":")).encode()
    response = web.Response(body=text, status=status, headers=_HEADERS.of(allow, body=True))
    if headers:
        response.headers.update(headers)
    return response


def empty_answer(*, status: int, allow: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer without a body."""
    response = web.Response(status=status, headers=_HEADERS.of(allow, body=False))
    if headers:
        response.headers.update(headers)
    return response


def refused(error: Refusal | ProjectKeyError, *, allow: str = "") -> web.Response:
    """The answer that ends a request early."""
    refusal = error if isinstance(error, Refusal) else of_domain_error(error)
    response = json_answer(refusal.body, status=refusal.status, allow=allow, headers=refusal.headers)
    if response.headers.get("Connection") == "close":
        response.force_close()
    return response


def wire_key(key: ProjectKey, project: Project, ingest: Ingest) -> dict[str, Any]:
    """A key as clients read it: its 13 members, in their order."""
    return {
        "id": key.public_key,
        "name": key.label,
        "label": key.label,
        "public": key.public_key,
        "secret": key.secret_key,
        "projectId": project.id,
        "isActive": key.is_active,
        "rateLimit": wire_rate_limit(key.rate_limit),
        "dsn": dsn_urls(endpoints(ingest, project), key.public_key, key.secret_key),
        "browserSdkVersion": key.browser_sdk_version or project.default_browser_sdk_version,
        "browserSdk": _CHOICES,
        "dateCreated": wire_time(key.created_at),
        "dynamicSdkLoaderOptions": wire_loader_options(key.loader_options),
    }


def wire_organization(organization: Organization) -> dict[str, Any]:
    """An organization as far as clients of keys read it."""
    return {
        "id": str(organization.id),
        "slug": organization.slug,
        "name": organization.name,
        "dateCreated": wire_time(organization.created_at),
        "ingestUrl": organization.ingest_url,
    }


def wire_project(project: Project) -> dict[str, Any]:
    """A project as far as clients of keys read it."""
    return {
        "id": str(project.id),
        "slug": project.slug,
        "name": project.name,
        "dateCreated": wire_time(project.created_at),
        "organization": wire_organization(project.organization),
    }
