"""The start of `events tail`."""

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from service.domain.events import EventType
from service.domain.model import new_key_half
from service.kafka.config import KafkaConnection
from service.kafka.reader import tail_topic
from tests.topic_writer import topic_writer


async def test_the_position_is_known_before_the_first_fetch(
    topic: str, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a fetch from another position is in progress when it is set; records were printed twice."""
    assigned: list[set[TopicPartition]] = []

    class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # -- aiokafka ships no types
        async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
            assigned.append(self.assignment())
            offsets: dict[TopicPartition, int] = await super().beginning_offsets(partitions)
            return offsets

    monkeypatch.setattr("projectkeys_consumer.topic_reader.AIOKafkaConsumer", Consumer)
    key = new_key_half()
    async with topic_writer(kafka_bootstrap, topic) as writer:
        await writer.write(key, 1, EventType.DELETED)
    async with tail_topic(KafkaConnection((kafka_bootstrap,)), topic, from_beginning=True) as messages:
        read = [await anext(messages) for _ in range(2)]
    assert [(message.key, message.offset) for message in read] == [(key, 0), (key, 1)]
    assert assigned == [set()]


async def test_an_error_of_the_output_is_not_one_of_kafka(topic: str, kafka_bootstrap: str) -> None:
    """A full disk, for example: to check the KAFKA_* settings would not help."""
    with pytest.raises(OSError, match="No space left"):
        async with tail_topic(KafkaConnection((kafka_bootstrap,)), topic, from_beginning=True):
            raise OSError("No space left on device")
