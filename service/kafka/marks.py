"""Records of the service's own beside the events: consumers pass over every type that is not `projectkey.…`."""

import uuid
from datetime import UTC, datetime

import orjson

from service.domain.events import SOURCE, time_to_json
from service.kafka.session import Record


def fence_record() -> Record:
    """What an owner's turn at a shard begins with: from then on the broker refuses those before it."""
    return _mark("fence", {})


def heartbeat_record() -> Record:
    """Something to measure the way by, for whoever reads the topic, when nothing happens."""
    return _mark("heartbeat", {"time": time_to_json(datetime.now(UTC))})


def _mark(name: str, value: dict[str, str]) -> Record:
    now = datetime.now(UTC)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid.uuid4()),
        "ce_source": SOURCE,
        "ce_type": f"projectkeys.{name}",
        "ce_time": time_to_json(now),
        "content-type": "application/json",
    }
    encoded = tuple((header, text.encode()) for header, text in headers.items())
    return Record(f"_{name}".encode(), orjson.dumps(value), encoded, int(now.timestamp() * 1000))
