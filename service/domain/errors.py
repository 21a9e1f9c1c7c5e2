"""What can go wrong, in the domain's words; the HTTP layer gives each its status."""


class ProjectKeyError(Exception):
    """The base of every error that a caller can be told of."""


class NotFoundError(ProjectKeyError):
    """The requested resource does not exist."""


class TakenError(ProjectKeyError):
    """A value that must be unique is in use.

    Args:
        *fields: the names of the model's fields whose values are in use.
    """

    def __init__(self, *fields: str) -> None:
        super().__init__(f"in use: {', '.join(fields)}")
        self.fields = fields


class BusyError(ProjectKeyError):
    """More work waits than can be done in time; the caller should come again."""


class UnavailableError(ProjectKeyError):
    """The database cannot be reached or did not answer in time; the caller should come again."""


class UncertainError(UnavailableError):
    """The database failed under a write, which is committed or is not."""


class MovedError(ProjectKeyError):
    """A project is called otherwise now; ``slug`` is its new one."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"the project is called {slug} now")
        self.slug = slug


class KeyInUseError(ProjectKeyError):
    """A request with the same idempotency key is still under way."""


class KeyReusedError(ProjectKeyError):
    """The idempotency key belongs to another request."""


class GoneError(ProjectKeyError):
    """What the first request with this idempotency key made is deleted."""


class TokenInvalidError(ProjectKeyError):
    """There is no such token, or it was revoked."""


class TooManyUnknownTokensError(ProjectKeyError):
    """The client's address has presented too many unknown tokens in this second."""


class TokenExpiredError(ProjectKeyError):
    """The token's time is over."""
