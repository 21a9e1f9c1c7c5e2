"""The topic is checked, and created only on request."""

import uuid
from collections.abc import AsyncIterator, Mapping

import pytest

from projectkeys_servers.ports import free_port
from service.kafka.client import KafkaClient
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError
from service.kafka.topic import TOPIC_CONFIG, check_topic
from tests.kafka_harness import new_topic

PARTITIONS = 12


@pytest.fixture
async def client(kafka_bootstrap: str) -> AsyncIterator[KafkaClient]:
    """A client of the broker, to inspect the topic."""
    client = KafkaClient(KafkaConnection((kafka_bootstrap,)), request_timeout=10)
    yield client
    await client.close()


@pytest.fixture
def name() -> str:
    """The name of a topic that does not exist."""
    return f"topic-{uuid.uuid4().hex}"


async def test_a_missing_topic_is_a_problem_and_stays_missing(
    kafka_bootstrap: str, client: KafkaClient, name: str
) -> None:
    """Without `create`, the check reports what to do and changes nothing."""
    state = await check_topic(KafkaConnection((kafka_bootstrap,)), name, partitions=PARTITIONS, create=False)
    assert state.problems == (f"There is no topic {name}: create it with 12 partitions and cleanup.policy=compact.",)
    assert (await client.topic_metadata(name)).partitions == 0


async def test_a_created_topic_passes_the_check(kafka_bootstrap: str, client: KafkaClient, name: str) -> None:
    """Except for a warning: with one broker it has one replica."""
    connection = KafkaConnection((kafka_bootstrap,))
    created = await check_topic(connection, name, partitions=PARTITIONS, create=True)
    found = await check_topic(connection, name, partitions=PARTITIONS, create=True)
    assert (created.created, found.created) == (True, False)
    assert created.problems == found.problems == ()
    assert len(created.warnings) == 1
    assert found.warnings == created.warnings
    code, config = await client.topic_config(name)
    assert code == 0
    assert TOPIC_CONFIG.items() <= config.items()
    assert config["min.insync.replicas"] == "1"


async def test_a_failed_creation_is_reported_with_the_error_of_kafka(kafka_bootstrap: str, name: str) -> None:
    """There are fewer brokers than replicas; the problem names the topic and Kafka's reason."""
    connection = KafkaConnection((kafka_bootstrap,))
    state = await check_topic(connection, name, partitions=PARTITIONS, create=True, replication_factor=5)
    assert not state.created
    [problem] = state.problems
    assert problem.startswith(f"The topic {name} could not be created: ")
    assert "replicat" in problem


@pytest.mark.parametrize(
    ("partitions", "config", "words"),
    [
        (3, {"cleanup.policy": "compact"}, "has 3 partitions and must have 12"),
        (12, {"cleanup.policy": "delete"}, "cleanup.policy=delete"),
        (12, {"cleanup.policy": "compact,delete"}, "cleanup.policy=compact,delete"),
        (12, {"cleanup.policy": "compact", "max.message.bytes": "100000"}, "max.message.bytes=100000"),
        (
            12,
            {"cleanup.policy": "compact", "min.insync.replicas": "2"},
            "has min.insync.replicas=2 and a replication factor of 1",
        ),
    ],
)
async def test_a_wrong_configuration_is_a_problem(
    kafka_bootstrap: str, partitions: int, config: Mapping[str, str], words: str
) -> None:
    """Each wrong value is one problem that names it."""
    topic = await new_topic(kafka_bootstrap, partitions=partitions, config=config)
    state = await check_topic(KafkaConnection((kafka_bootstrap,)), topic, partitions=PARTITIONS, create=True)
    [problem] = state.problems
    assert topic in problem
    assert words in problem


async def test_an_unreachable_kafka_is_an_error_within_the_timeout() -> None:
    """Nothing listens on the port: the error names the address."""
    port = free_port()
    connection = KafkaConnection((f"127.0.0.1:{port}",))
    with pytest.raises(KafkaUnavailableError, match=f"127.0.0.1:{port}"):
        await check_topic(connection, "anything", partitions=PARTITIONS, create=True, timeout=2)


async def test_settings_that_a_broker_does_not_report_are_a_warning(
    kafka_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some brokers do not report every setting; the others are checked."""

    async def reported(_client: KafkaClient, _topic: str) -> tuple[int, dict[str, str]]:
        return 0, {"cleanup.policy": "delete"}

    monkeypatch.setattr(KafkaClient, "topic_config", reported)
    state = await check_topic(KafkaConnection((kafka_bootstrap,)), topic, partitions=PARTITIONS, create=False)
    assert [problem for problem in state.problems if "cleanup.policy=delete" not in problem] == []
    assert len(state.problems) == 1
    [warning] = [text for text in state.warnings if "does not report" in text]
    assert "min.insync.replicas, max.message.bytes" in warning
