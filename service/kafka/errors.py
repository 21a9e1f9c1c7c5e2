"""Failures of Kafka, by what the caller has to do."""


class KafkaFailureError(Exception):
    """The base of the three below."""


class KafkaUnavailableError(KafkaFailureError):
    """A request failed and may succeed later.

    Records of a failed produce request may be in the log or not.
    """


class FencedError(KafkaFailureError):
    """Another owner has opened the shard since: Kafka rejects every record of this session."""


class RecordRejectedError(KafkaFailureError):
    """Kafka rejects one of the records for good.

    Args:
        message: What is wrong, for people.
        reason: One word for it, for metrics.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
