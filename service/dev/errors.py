"""Errors of the embedded servers."""

from service.domain.errors import CommandError


class EmbeddedServerError(CommandError):
    """An embedded server cannot be used; the message contains the reason and the end of the log, if any."""
