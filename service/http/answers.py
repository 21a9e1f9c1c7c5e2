"""Answers: JSON bodies, the headers that all of them carry, and the shapes that clients read."""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict

from service.domain.errors import ProjectKeyError
from service.domain.events import wire_time
from service.domain.model import Organization, Project
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
    """``body``, which is what orjson can write, as compact UTF-8 JSON; otherwise as `text_answer`."""
    try:
        text = orjson.dumps(body)
    except TypeError:  # a refusal that quotes a lone surrogate, which UTF-8 cannot write
        text = json.dumps(body, separators=(",", ":")).encode()
    return text_answer(text, status=status, allow=allow, headers=headers)


def text_answer(
    text: bytes, *, status: int = 200, allow: str = "", headers: Mapping[str, str] | None = None
) -> web.Response:
    """JSON that is written already.

    Args:
        text: that.
        status: the HTTP status.
        allow: the methods of the resource, for the header.
        headers: more headers.
    """
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
