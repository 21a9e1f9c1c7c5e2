"""What can go wrong with Kafka, sorted by what the caller has to do about it."""


class KafkaFailureError(Exception):
    """The base of the three below."""


class KafkaUnavailableError(KafkaFailureError):
    """Kafka did not do it this time, and the same may succeed later.

    A record whose sending ended so is in the log or is not.
    """


class FencedError(KafkaFailureError):
    """Another owner has opened the shard since: Kafka accepts nothing of this one any more."""


class RefusedError(KafkaFailureError):
    """Kafka will never accept one of the records; ``reason`` is one word for it, for counting."""

    def __init__(self, words: str, *, reason: str) -> None:
        super().__init__(words)
        self.reason = reason
