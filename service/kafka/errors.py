"""Failures of Kafka; each class requires another reaction of the caller."""

import logging

from service.domain.errors import CommandError


class KafkaFailureError(CommandError):
    """The base class of all failures of Kafka; ``log_level`` is the level at which background tasks log it."""

    log_level = logging.WARNING


class KafkaUnavailableError(KafkaFailureError):
    """A request failed and may succeed later.

    Records of a failed produce request may be in the log or not.
    """


class KafkaUnreachableError(KafkaUnavailableError):
    """No broker responds or accepts the credentials; the connections log the reason, once for all shards."""

    log_level = logging.DEBUG


class FencedError(KafkaFailureError):
    """Another owner has opened a later session of the shard: Kafka rejects every record of this session."""


class RecordRejectedError(KafkaFailureError):
    """Kafka rejects one of the records for good.

    Args:
        message: What is wrong.
        reason: The cause in one word, a label value of metrics.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
