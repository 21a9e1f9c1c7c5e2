"""Checks that the topic is what producers and consumers rely on, and creates it where that is asked for."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from service.kafka.client import KafkaClient, TopicMetadata, error_name
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaFailureError, KafkaUnavailableError
from service.kafka.producer import MAX_RECORD_BYTES

_log = structlog.get_logger(__name__)

_AGAIN: Final = 5.0
"""Seconds between two tries to look at the topic while Kafka cannot be asked."""

_HOUR_MS = 3_600_000

TOPIC_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",  # the last state of each key is kept for ever
    "min.compaction.lag.ms": str(_HOUR_MS),  # a reader less than an hour behind sees every event
    "max.compaction.lag.ms": str(24 * _HOUR_MS),  # a deleted key's state is gone within a day
    "delete.retention.ms": str(7 * 24 * _HOUR_MS),  # a reader may be away for a week and not miss a deletion
    "segment.ms": str(6 * _HOUR_MS),  # only closed segments are compacted
    "min.cleanable.dirty.ratio": "0.1",  # short to read from the start
    "message.timestamp.type": "CreateTime",  # when the key changed, not when Kafka heard of it
    # No compression.type: Python's clients read lz4, snappy and zstd only with a further library.
}

_NONE, _TOPIC_UNKNOWN, _TOPIC_EXISTS = 0, 3, 36
_FORBIDDEN = {29, 30, 31}
_USUAL_REPLICAS = 3
_SAFE_COPIES = 2


@dataclass(frozen=True, slots=True)
class TopicState:
    """What the check found.

    Attributes:
        created: The topic did not exist and was created just now.
        problems: Sentences; with any of them, publishing would fail or mislead consumers.
        warnings: Sentences; things work, with less safety than they could.
    """

    created: bool
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


async def check_topic(
    connection: KafkaConnection,
    topic: str,
    *,
    partitions: int,
    create: bool,
    replication_factor: int | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 -- the bound is this function's own duty, as of all that talk to Kafka
) -> TopicState:
    """Compare the topic with what the service needs.

    Args:
        connection: How the brokers are reached.
        topic: The topic's name.
        partitions: How many it must have, one for each shard.
        create: Create it if it does not exist.
        replication_factor: Copies of each partition in a topic created here; None: three, or one for each
            broker where there are fewer.
        timeout: The longest wait in seconds, for all of it.

    Raises:
        KafkaUnavailableError: Kafka could not be asked in time.
        OSError: A certificate or key file cannot be read, or is not one.
    """
    client = KafkaClient(connection, request_timeout=timeout)
    try:
        async with asyncio.timeout(timeout):
            metadata = await client.topic_metadata(topic)
            if metadata.error == _TOPIC_UNKNOWN and create:
                factor = replication_factor or min(_USUAL_REPLICAS, metadata.brokers)
                return await _create(client, topic, partitions, factor)
            return await _inspect(client, topic, partitions, metadata)
    except TimeoutError:
        raise KafkaUnavailableError(f"the topic {topic} could not be checked within {timeout:g} s") from None
    finally:
        await client.close()


async def _create(client: KafkaClient, topic: str, partitions: int, replication_factor: int) -> TopicState:
    # One copy fewer than there are, so that one broker can be away; more would refuse writes then.
    in_sync = min(_SAFE_COPIES, max(1, replication_factor - 1))
    config = {**TOPIC_CONFIG, "min.insync.replicas": str(in_sync)}
    code, words = await client.create_topic(
        topic, partitions=partitions, replication_factor=replication_factor, config=config
    )
    if code == _TOPIC_EXISTS:  # somebody was quicker, and the broker that was asked has not heard of it yet
        raise KafkaUnavailableError(f"the topic {topic} is just being created")
    if code in _FORBIDDEN:
        return _problem(
            f"This user may not create the topic {topic}: give it Create, or create the topic yourself."
        )
    if code != _NONE:
        return _problem(f"The topic {topic} could not be created: {words}.")
    return TopicState(created=True, problems=(), warnings=_warnings(in_sync))


async def _inspect(client: KafkaClient, topic: str, partitions: int, metadata: TopicMetadata) -> TopicState:
    if metadata.error == _TOPIC_UNKNOWN:
        return _problem(
            f"There is no topic {topic}: create it with {partitions} partitions and cleanup.policy=compact."
        )
    if metadata.error in _FORBIDDEN:
        return _problem(f"This user may not see the topic {topic}: give it Describe and Write on it.")
    if metadata.error != _NONE:
        raise KafkaUnavailableError(f"the topic {topic}: {error_name(metadata.error)}")
    problems = _shape_problems(topic, partitions, metadata)
    code, config = await client.topic_config(topic)
    if code != _NONE:
        warning = (
            f"The configuration of the topic {topic} is not checked ({error_name(code)}): "
            "give this user DescribeConfigs on it."
        )
        return TopicState(created=False, problems=tuple(problems), warnings=(warning,))
    problems += _config_problems(topic, metadata.replication_factor, config)
    warnings = _warnings(int(config["min.insync.replicas"]))
    return TopicState(created=False, problems=tuple(problems), warnings=warnings)


def _shape_problems(topic: str, partitions: int, metadata: TopicMetadata) -> list[str]:
    if metadata.partitions == partitions:
        return []
    sentence = (
        f"The topic {topic} has {metadata.partitions} partitions and must have {partitions}: "
        "this cannot be put right in an existing topic, so use another one."
    )
    return [sentence]


def _config_problems(topic: str, copies: int, config: Mapping[str, str]) -> list[str]:
    problems = []
    policy, in_sync = config["cleanup.policy"], int(config["min.insync.replicas"])
    largest = int(config["max.message.bytes"])
    if policy != "compact":
        problems.append(
            f"The topic {topic} has cleanup.policy={policy}, which forgets keys that do not change: "
            "set cleanup.policy=compact."
        )
    if largest < MAX_RECORD_BYTES:
        problems.append(
            f"The topic {topic} has max.message.bytes={largest}, less than what is sent: "
            f"set it to {MAX_RECORD_BYTES} or more, or remove it."
        )
    if in_sync > copies:
        problems.append(
            f"The topic {topic} has min.insync.replicas={in_sync} and a replication factor of {copies}, "
            f"so releases of Kafka differ in whether anything can be written: set it to {copies} or less."
        )
    return problems


def _warnings(in_sync: int) -> tuple[str, ...]:
    if in_sync >= _SAFE_COPIES:
        return ()
    sentence = (
        f"With min.insync.replicas={in_sync} an acknowledged event is lost if one broker loses its disk: "
        "in production use a replication factor of 3 and min.insync.replicas=2."
    )
    return (sentence,)


def _problem(sentence: str) -> TopicState:
    return TopicState(created=False, problems=(sentence,), warnings=())


async def watch_topic(connection: KafkaConnection, topic: str, *, partitions: int, create: bool) -> None:
    """Say once in the log what is wrong with the topic; Kafka's absence is waited out.

    Args:
        connection: How to reach Kafka.
        topic: Its name.
        partitions: How many it must have.
        create: Create it where it is missing.
    """
    while True:
        try:
            state = await check_topic(connection, topic, partitions=partitions, create=create)
        except (KafkaFailureError, OSError) as error:
            _log.warning("topic_not_checked", error=str(error), retry_in=_AGAIN)
            await asyncio.sleep(_AGAIN)
            continue
        for problem in state.problems:
            _log.error("topic_unfit", problem=problem)
        for warning in state.warnings:
            _log.warning("topic_weak", warning=warning)
        return
