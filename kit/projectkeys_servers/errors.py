"""Errors of the embedded servers."""


class EmbeddedServerError(Exception):
    """An embedded server cannot be used; the message contains the reason and the end of the log, if any."""
