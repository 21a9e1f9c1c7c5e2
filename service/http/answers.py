"""Answers: JSON bodies, the headers that all of them carry, and the shapes that clients read."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from service.domain.errors import ProjectKeyError
from service.domain.events import time_to_json
from service.domain.model import Organization, Project
from service.http.errors import HttpError, from_domain_error
from service.http.server.response import Response, header_lines
from service.json_text import dump_json

COMMON_HEADERS: Final = {
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
    headers = {**COMMON_HEADERS, "Allow": allow, "Content-Type": content_type}
    return header_lines({name: value for name, value in headers.items() if value})


def json_response(
    body: Any, *, status: int = 200, allow: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """``body`` as compact JSON; otherwise as `bytes_response`."""
    return bytes_response(dump_json(body), status=status, allow=allow, headers=headers)


def bytes_response(
    text: bytes,
    *,
    status: int = 200,
    allow: str = "",
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Text that is written already, usually JSON.

    Args:
        text: that.
        status: the HTTP status.
        allow: the methods of the resource, for the header.
        headers: more headers, none of those that all answers have.
        content_type: what it is; "" where there is none.
    """
    lines = _usual(allow, content_type)
    return Response(lines + header_lines(headers) if headers else lines, text, status=status)


def empty_response(*, status: int, allow: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return bytes_response(b"", status=status, allow=allow, headers=headers, content_type="")


def error_response(error: HttpError | ProjectKeyError, *, allow: str = "") -> Response:
    """The answer that ends a request early."""
    refusal = error if isinstance(error, HttpError) else from_domain_error(error)
    answer = json_response(refusal.body, status=refusal.status, allow=allow, headers=refusal.headers)
    if refusal.ends_connection:
        answer.force_close()
    return answer


def organization_to_json(organization: Organization) -> dict[str, Any]:
    """An organization as far as clients of keys read it."""
    return {
        "id": str(organization.id),
        "slug": organization.slug,
        "name": organization.name,
        "dateCreated": time_to_json(organization.created_at),
        "ingestUrl": organization.ingest_url,
    }


def project_to_json(project: Project) -> dict[str, Any]:
    """A project as far as clients of keys read it."""
    return {
        "id": str(project.id),
        "slug": project.slug,
        "name": project.name,
        "dateCreated": time_to_json(project.created_at),
        "organization": organization_to_json(project.organization),
    }
