"""The official CloudEvents SDK reads the records."""

from datetime import datetime

import orjson
from aiokafka import ConsumerRecord
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat

from service.app import Service
from service.domain.events import EventType
from tests.conftest import MakeApi
from tests.events import header, reading


def _read_with_sdk(record: ConsumerRecord) -> BaseCloudEvent:
    return from_binary(KafkaMessage(dict(record.headers), record.key, record.value), JSONFormat())


async def test_the_sdk_reads_every_event(publishing_service: Service, make_api: MakeApi) -> None:
    """Attributes, extensions and data are those of the request and the response."""
    settings = publishing_service.settings
    async with reading(settings.kafka_bootstrap_servers[0], settings.kafka_topic) as reader:
        api = await make_api(publishing_service)
        created = await api.create({"name": "Fabulous Key"})
        key = await created.json()
        path = f"{api.keys_path}{key['id']}/"
        updated = await api.request("PUT", path, json={"isActive": False})
        deleted = await api.request("DELETE", path)
        records = await reader.until(lambda seen: len({header(record, "ce_type") for record in seen}) == 3)
    events = [_read_with_sdk(record) for record in records if record.value is not None]
    assert [event.get_type() for event in events] == list(EventType)
    responses = (created, updated, deleted)
    assert [event.get_id() for event in events] == [response.headers["Event-Id"] for response in responses]
    for version, (event, record) in enumerate(zip(events, records, strict=False), 1):
        assert (event.get_specversion(), event.get_source()) == ("1.0", "/projectkeys")
        assert event.get_subject() == event.get_extension("partitionkey") == key["id"]
        assert event.get_datacontenttype() == "application/json"
        assert event.get_dataschema() == f"urn:projectkeys:schema:{event.get_type()}:1"
        data = event.get_data()
        assert data == orjson.loads(record.value)
        assert isinstance(data, dict)
        assert data["version"] == version
    first, *_ = events
    assert first.get_time() == datetime.fromisoformat(key["dateCreated"])
    sequences = [event.get_extension("sequence") for event in events]
    assert sequences == sorted(sequences), "the extension is ordered as text"
