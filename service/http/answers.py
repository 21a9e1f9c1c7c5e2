"""Answers: JSON bodies, the headers that all of them carry, and the shapes that clients read."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import orjson

from service.domain.errors import ProjectKeyError
from service.domain.events import wire_time
from service.domain.model import Organization, Project
from service.http.answer import Answer, header_lines
from service.http.refusals import Refusal, of_domain_error

EVERY_ANSWER: Final = {
    "Content-Language": "en",
    "Vary": "Accept-Language, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "X-XSS-Protection": "1; mode=block",
    "Cache-Control": "no-store",
    "Server": "projectkeys",
}
"""The headers of all answers; pages keep other caches."""


@cache  # the lists of methods are few
def _usual(allow: str, content_type: str) -> str:
    """The headers of every answer of a resource that allows these methods, as they are sent."""
    headers = {**EVERY_ANSWER, "Allow": allow, "Content-Type": content_type}
    return header_lines({name: value for name, value in headers.items() if value})


def json_answer(
    body: Any, *, status: int = 200, allow: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """``body``, which is what orjson can write, as compact UTF-8 JSON; otherwise as `text_answer`."""
    try:
        text = orjson.dumps(body)
    except TypeError:  # a refusal that quotes a lone surrogate, which UTF-8 cannot write
        text = json.dumps(body, separators=(",", ":")).encode()
    return text_answer(text, status=status, allow=allow, headers=headers)


def text_answer(
    text: bytes,
    *,
    status: int = 200,
    allow: str = "",
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Answer:
    """Text that is written already, usually JSON.

    Args:
        text: that.
        status: the HTTP status.
        allow: the methods of the resource, for the header.
        headers: more headers, none of those that all answers have.
        content_type: what it is; "" where there is none.
    """
    lines = _usual(allow, content_type)
    return Answer(lines + header_lines(headers) if headers else lines, text, status=status)


def empty_answer(*, status: int, allow: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """An answer without a body."""
    return text_answer(b"", status=status, allow=allow, headers=headers, content_type="")


def refused(error: Refusal | ProjectKeyError, *, allow: str = "") -> Answer:
    """The answer that ends a request early."""
    refusal = error if isinstance(error, Refusal) else of_domain_error(error)
    answer = json_answer(refusal.body, status=refusal.status, allow=allow, headers=refusal.headers)
    if refusal.ends_connection:
        answer.force_close()
    return answer


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
