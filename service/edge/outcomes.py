"""Outcomes: what relays report about accepted and rejected items; published to a topic in Sentry's schema."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from service.domain.errors import BusyError
from service.domain.model import MAX_BIGINT
from service.edge.metrics import EdgeMetrics
from service.http.errors import HttpError
from service.kafka.plain_producer import PlainProducer

_MAX_OUTCOMES: Final = 1000
"""Outcomes of a request; Relay sends no more."""

_MAX_REQUESTS: Final = 16
"""Requests whose outcomes are being published; further ones receive 503, after which Relay sends them again."""

_MAX_TEXT: Final = 256
_HIGHEST: Final[Mapping[str, int]] = {
    "org_id": MAX_BIGINT,
    "project_id": MAX_BIGINT,
    "key_id": MAX_BIGINT,
    "outcome": 6,
    "category": 2**16,
    "quantity": 2**32,
}
"""The numbers of an outcome with their highest values."""

_TEXTS: Final = ("reason", "event_id", "remote_addr", "source")
_REQUIRED: Final = ("timestamp", "project_id", "outcome")


class Outcomes:
    """Publishes the outcomes that relays report.

    Args:
        producer: Sends to the topic of outcomes.
        metrics: Counts the outcomes.
    """

    def __init__(self, producer: PlainProducer, metrics: EdgeMetrics) -> None:
        self._producer = producer
        self._metrics = metrics
        self._requests = 0

    async def publish(self, body: Any) -> None:
        """Publish the outcomes of a request; skip those that do not match the schema.

        Raises:
            HttpError: 400; the body has another form.
            BusyError: Too many outcomes are being published.
            KafkaUnavailableError: Kafka did not acknowledge them.
        """
        outcomes = body.get("outcomes") if isinstance(body, dict) else None
        if not isinstance(outcomes, list) or len(outcomes) > _MAX_OUTCOMES:
            raise HttpError(400, f"outcomes must be a list of at most {_MAX_OUTCOMES} objects.")
        if self._requests >= _MAX_REQUESTS:
            raise BusyError("too many outcomes are being published")
        records = [orjson.dumps(valid) for outcome in outcomes if (valid := _validate(outcome)) is not None]
        self._requests += 1
        try:
            if records:
                await self._producer.send(records)
        finally:
            self._requests -= 1
        self._metrics.outcomes.labels("published").inc(len(records))
        self._metrics.outcomes.labels("malformed").inc(len(outcomes) - len(records))


def _validate(outcome: Any) -> dict[str, Any] | None:
    """Return the members of an outcome that the schema has; None if one is missing or has another type."""
    if not isinstance(outcome, dict):
        return None
    valid: dict[str, Any] = {}
    for name, highest in _HIGHEST.items():
        number = outcome.get(name)
        if number is not None:
            if type(number) is not int or not 0 <= number <= highest:
                return None
            valid[name] = number
    for name in ("timestamp", *_TEXTS):
        text = outcome.get(name)
        if text is not None:
            if not isinstance(text, str) or len(text) > _MAX_TEXT or not _is_encodable(text):
                return None
            valid[name] = text
    return valid if all(name in valid for name in _REQUIRED) and _is_time(valid["timestamp"]) else None


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
