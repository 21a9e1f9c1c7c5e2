"""Errors of the domain; the HTTP layer maps each `ProjectKeyError` to a status."""

import logging


class CommandError(Exception):
    """A failure that a command reports in one line, without a traceback: what is wrong, and what to do."""


class ProjectKeyError(Exception):
    """Base class of the errors for which clients receive a response of their own."""


class NotFoundError(ProjectKeyError):
    """The requested resource does not exist."""


class TakenError(ProjectKeyError):
    """A value that must be unique is in use.

    Args:
        *fields: The attributes of the model whose values are in use, such as ``slug`` or ``public_key``.
    """

    def __init__(self, *fields: str) -> None:
        super().__init__(f"in use: {', '.join(fields)}")
        self.fields = fields


class KeyExpiredError(ProjectKeyError):
    """An expired key was to be enabled without another expiry."""


class KeyStateError(ProjectKeyError):
    """The state of a key does not permit the operation; the text says why, and what to do."""


class BusyError(ProjectKeyError):
    """Too much work is queued; the client should retry."""


class UnavailableError(ProjectKeyError):
    """The database is unreachable or did not respond in time; the client should retry.

    ``log_level`` is the level at which background tasks log it.
    """

    log_level = logging.WARNING


class UnreachableError(UnavailableError):
    """No connection to the database could be opened; the connection pool logs the reason, once for all tasks."""

    log_level = logging.DEBUG


class ConflictError(UnavailableError):
    """The database rolled a transaction back because of a concurrent one; repeating it succeeds."""


class UncertainError(UnavailableError):
    """The database failed during a write, which may or may not be committed."""


class MovedError(ProjectKeyError):
    """A project was renamed; ``slug`` is its new slug."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"the project was renamed to {slug}")
        self.slug = slug


class IdempotencyKeyInUseError(ProjectKeyError):
    """A request with the same idempotency key is in progress."""


class IdempotencyKeyReusedError(ProjectKeyError):
    """The idempotency key belongs to another request."""


class GoneError(ProjectKeyError):
    """The resource that the first request with this idempotency key created is deleted."""


class TokenInvalidError(ProjectKeyError):
    """The token does not exist or is revoked."""


class TokenExpiredError(ProjectKeyError):
    """The token has expired."""
