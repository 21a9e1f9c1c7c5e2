"""Exceptions of the consumer kit."""


class NotReadyError(Exception):
    """The topic has not been read to its end yet; the message gives the reason if reading fails."""


class MalformedRecordError(ValueError):
    """A record does not match the published schemas."""


class SnapshotError(Exception):
    """A snapshot file cannot be used."""


class ResyncRequiredError(Exception):
    """The known positions are no longer valid; the topic must be read from its beginning."""
