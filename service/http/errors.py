"""The error responses: statuses, texts and headers."""

from collections.abc import Mapping
from typing import Any, Final

from service.domain.errors import (
    BusyError,
    ConflictError,
    GoneError,
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    KeyExpiredError,
    KeyStateError,
    MovedError,
    NotFoundError,
    ProjectKeyError,
    TakenError,
    TokenExpiredError,
    TokenInvalidError,
    UnavailableError,
    UncertainError,
    UnreachableError,
)

RETRY_AFTER: Final = {"Retry-After": "1"}
"""The header that asks a client to retry after 1 second."""

_CHALLENGE: Final = {"WWW-Authenticate": 'xBasic realm="api"'}
NO_CREDENTIALS: Final = "Authentication credentials were not provided."
NO_PERMISSION: Final = "You do not have permission to perform this action."
NOT_FOUND: Final = "The requested resource does not exist"
_FIELD_NAMES: Final = {"public_key": "public", "secret_key": "secret"}
"""The JSON members of the unique columns of a key."""


class HttpError(Exception):
    """An error response, as an exception.

    Args:
        status: The HTTP status.
        body: The JSON value of the body; a string becomes ``{"detail": string}``.
        headers: Further headers.
        closes_connection: Whether the server closes the connection after the response.
    """

    def __init__(
        self, status: int, body: Any, headers: Mapping[str, str] | None = None, *, closes_connection: bool = False
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = {"detail": body} if isinstance(body, str) else body
        self.headers = headers or {}
        self.closes_connection = closes_connection


def unauthenticated(message: str) -> HttpError:
    """Return 401 with ``message``."""
    return HttpError(401, message, _CHALLENGE)


def insufficient_scope(needed: tuple[str, ...]) -> HttpError:
    """Return 403 for a token that has none of the scopes in ``needed``."""
    scopes = " ".join(sorted(needed))
    return HttpError(403, NO_PERMISSION, {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scopes}"'})


def method_not_allowed(method: str) -> HttpError:
    """Return 405 for ``method``."""
    return HttpError(405, f'Method "{method}" not allowed.')


def body_too_large(limit: int) -> HttpError:
    """Return 413 and close the connection: the rest of the body is not read."""
    return HttpError(413, f"The request body is larger than {limit} bytes.", closes_connection=True)


def request_timed_out() -> HttpError:
    """Return 503 for a request that exceeded its deadline."""
    return HttpError(503, "The request timed out. Try again.", RETRY_AFTER)


_UNAVAILABLE: Final = (503, "The service is temporarily unavailable. Try again.", RETRY_AFTER)
_EXPIRED: Final = "The key has expired. Also set expiresAt to a later time or to null."
_RESPONSES: Final[Mapping[type[ProjectKeyError], tuple[int, Any, Mapping[str, str]]]] = {
    NotFoundError: (404, NOT_FOUND, {}),
    MovedError: (404, NOT_FOUND, {}),  # in a path, it becomes a redirect
    TokenInvalidError: (401, "Invalid token", _CHALLENGE),
    TokenExpiredError: (401, "Token expired", _CHALLENGE),
    IdempotencyKeyInUseError: (409, "A request with this Idempotency-Key is still in progress.", RETRY_AFTER),
    IdempotencyKeyReusedError: (422, "This Idempotency-Key was used for another request.", {}),
    KeyExpiredError: (400, {"isActive": [_EXPIRED]}, {}),
    GoneError: (410, "The resource created by the original request was deleted.", {}),
    BusyError: (503, "The service is busy. Try again.", RETRY_AFTER),
    UnavailableError: _UNAVAILABLE,
    UnreachableError: _UNAVAILABLE,
    ConflictError: _UNAVAILABLE,
    UncertainError: _UNAVAILABLE,
}
"""Status, body and headers of the domain errors whose response depends only on their type."""


def from_domain_error(error: ProjectKeyError) -> HttpError:
    """Return the error response for a domain error."""
    match error:
        case TakenError(fields=("slug",)):
            return HttpError(409, "This slug is already in use.")
        case TakenError():
            names = [_FIELD_NAMES[field] for field in error.fields]
            return HttpError(400, {name: ["This field must be unique."] for name in names})
        case KeyStateError():
            return HttpError(409, str(error))
        case _:
            return HttpError(*_RESPONSES[type(error)])


def redirect(method: str, url: str, slug: str) -> HttpError:
    """Return 302 for GET and HEAD, 308 for other methods: after a 302, clients would repeat them as a GET.

    Args:
        method: The method of the request.
        url: The URL of the request with the current slug, without scheme and host.
        slug: The current slug of the project.
    """
    body = {"slug": slug, "detail": {"extra": {"url": url, "slug": slug}}}
    return HttpError(302 if method in {"GET", "HEAD"} else 308, body, {"Location": url})


def internal_error(request_id: str) -> HttpError:
    """Return 500 with ``request_id``, under which the log contains the cause."""
    return HttpError(500, {"detail": "Internal Error", "errorId": request_id})
