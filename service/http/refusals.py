"""What a caller is told when a request is refused: one table of words, one shape."""

from collections.abc import Mapping
from typing import Any, Final

from service.domain.errors import (
    BusyError,
    NotFoundError,
    ProjectKeyError,
    TakenError,
    TokenExpiredError,
    TokenInvalidError,
    UnavailableError,
)

RETRY_AFTER: Final = {"Retry-After": "1"}
"""Seconds after which a request that found no room should come again."""

_CHALLENGE: Final = {"WWW-Authenticate": 'xBasic realm="api"'}
NO_CREDENTIALS: Final = "Authentication credentials were not provided."
NO_PERMISSION: Final = "You do not have permission to perform this action."
NOT_FOUND: Final = "The requested resource does not exist"
_WIRE_NAMES: Final = {"public_key": "public", "secret_key": "secret"}


class Refusal(Exception):  # noqa: N818 -- it is an answer, and most of its kinds are nobody's error
    """An answer that ends a request early.

    Args:
        status: the HTTP status.
        body: what is told; a text becomes ``{"detail": text}``.
        headers: more headers.
    """

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = {"detail": body} if isinstance(body, str) else body
        self.headers = headers or {}


def unauthenticated(message: str) -> Refusal:
    """401: who are you?"""
    return Refusal(401, message, _CHALLENGE)


def insufficient_scope(needed: tuple[str, ...]) -> Refusal:
    """403: the token may not do this; any one of ``needed`` would do."""
    scopes = " ".join(sorted(needed))
    return Refusal(
        403, NO_PERMISSION, {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scopes}"'}
    )


def method_not_allowed(method: str) -> Refusal:
    """405."""
    return Refusal(405, f'Method "{method}" not allowed.')


def body_too_large(limit: int) -> Refusal:
    """413; the connection ends, for what follows on it was never read."""
    return Refusal(413, f"The request body is larger than {limit} bytes.", {"Connection": "close"})


def too_slow(what: str) -> Refusal:
    """503: the time for a request is over."""
    return Refusal(503, what, RETRY_AFTER)


def of_domain_error(error: ProjectKeyError) -> Refusal:  # noqa: PLR0911 -- a table
    """The answer to an error of the domain."""
    match error:
        case NotFoundError():
            return Refusal(404, NOT_FOUND)
        case TakenError(fields=("slug",)):
            return Refusal(409, "This slug is already in use.")
        case TakenError():
            names = [_WIRE_NAMES[one] for one in error.fields]
            return Refusal(400, {name: ["This field must be unique."] for name in names})
        case TokenInvalidError():
            return unauthenticated("Invalid token")
        case TokenExpiredError():
            return unauthenticated("Token expired")
        case BusyError():
            return Refusal(503, "The service is busy. Try again.", RETRY_AFTER)
        case UnavailableError():
            return Refusal(503, "The service is temporarily unavailable. Try again.", RETRY_AFTER)
        case _:
            raise error


def internal_error(request_id: str) -> Refusal:
    """500: nothing of its cause; the log has it under the same id."""
    return Refusal(500, {"detail": "Internal Error", "errorId": request_id})
