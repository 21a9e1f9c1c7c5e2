"""What a caller is told when a request is refused: one table of words, one shape."""

from collections.abc import Mapping
from typing import Any, Final

from service.domain.errors import (
    BusyError,
    GoneError,
    KeyInUseError,
    KeyReusedError,
    NotFoundError,
    ProjectKeyError,
    TakenError,
    TokenExpiredError,
    TokenInvalidError,
    TooManyUnknownTokensError,
    UnavailableError,
    UncertainError,
)

RETRY_AFTER: Final = {"Retry-After": "1"}
"""Seconds after which a request that found no room should come again."""

_CHALLENGE: Final = {"WWW-Authenticate": 'xBasic realm="api"'}
NO_CREDENTIALS: Final = "Authentication credentials were not provided."
NO_PERMISSION: Final = "You do not have permission to perform this action."
NOT_FOUND: Final = "The requested resource does not exist"
_WIRE_NAMES: Final = {"public_key": "public", "secret_key": "secret"}


class HttpError(Exception):
    """An answer that ends a request early.

    Args:
        status: the HTTP status.
        body: what is told; a text becomes ``{"detail": text}``.
        headers: more headers.
        ends_connection: what follows on the connection is not read.
    """

    def __init__(
        self,
        status: int,
        body: Any,
        headers: Mapping[str, str] | None = None,
        *,
        ends_connection: bool = False,
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = {"detail": body} if isinstance(body, str) else body
        self.headers = headers or {}
        self.ends_connection = ends_connection


def unauthenticated(message: str) -> HttpError:
    """401: who are you?"""
    return HttpError(401, message, _CHALLENGE)


def insufficient_scope(needed: tuple[str, ...]) -> HttpError:
    """403: the token may not do this; any one of ``needed`` would do."""
    scopes = " ".join(sorted(needed))
    return HttpError(
        403, NO_PERMISSION, {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scopes}"'}
    )


def method_not_allowed(method: str) -> HttpError:
    """405."""
    return HttpError(405, f'Method "{method}" not allowed.')


def body_too_large(limit: int) -> HttpError:
    """413; the connection ends, for what follows on it was never read."""
    return HttpError(413, f"The request body is larger than {limit} bytes.", ends_connection=True)


def request_timed_out(what: str) -> HttpError:
    """503: the time for a request is over."""
    return HttpError(503, what, RETRY_AFTER)


_ANSWERS: Final[Mapping[type[ProjectKeyError], tuple[int, str, Mapping[str, str]]]] = {
    NotFoundError: (404, NOT_FOUND, {}),
    TokenInvalidError: (401, "Invalid token", _CHALLENGE),
    TooManyUnknownTokensError: (429, "Too many unknown tokens from this address. Try again.", RETRY_AFTER),
    TokenExpiredError: (401, "Token expired", _CHALLENGE),
    KeyInUseError: (409, "A request with this Idempotency-Key is still under way.", RETRY_AFTER),
    KeyReusedError: (422, "This Idempotency-Key was used for another request.", {}),
    GoneError: (410, "What the first request with this Idempotency-Key made is deleted.", {}),
    BusyError: (503, "The service is busy. Try again.", RETRY_AFTER),
    UnavailableError: (503, "The service is temporarily unavailable. Try again.", RETRY_AFTER),
    UncertainError: (503, "The service is temporarily unavailable. Try again.", RETRY_AFTER),
}
"""What is answered to the domain's errors that need no more than their kind."""


def from_domain_error(error: ProjectKeyError) -> HttpError:
    """The answer to an error of the domain."""
    match error:
        case TakenError(fields=("slug",)):
            return HttpError(409, "This slug is already in use.")
        case TakenError():
            names = [_WIRE_NAMES[one] for one in error.fields]
            return HttpError(400, {name: ["This field must be unique."] for name in names})
        case _:
            return HttpError(*_ANSWERS[type(error)])


def moved(method: str, url: str, slug: str) -> HttpError:
    """302 for reads; 308 for writes, which clients send again as they are, where 302 would make reads of them."""
    body = {"slug": slug, "detail": {"extra": {"url": url, "slug": slug}}}
    return HttpError(302 if method in {"GET", "HEAD"} else 308, body, {"Location": url})


def internal_error(request_id: str) -> HttpError:
    """500: nothing of its cause; the log has it under the same id."""
    return HttpError(500, {"detail": "Internal Error", "errorId": request_id})
