"""Checks the topic's partitions and configuration, and creates it if requested."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from service.concurrency.outage import Outage
from service.kafka.client import KafkaClient, TopicMetadata, error_name
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaFailureError, KafkaUnavailableError
from service.kafka.producer import MAX_RECORD_BYTES

_log = structlog.get_logger(__name__)

_RETRY_DELAY: Final = 5.0
"""Seconds between two checks of the topic while Kafka is unavailable."""

_HOUR_MS = 3_600_000

TOPIC_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",  # the latest state of each key is kept for ever
    "min.compaction.lag.ms": str(_HOUR_MS),  # a consumer that lags by less than an hour receives every event
    "max.compaction.lag.ms": str(24 * _HOUR_MS),  # a deleted key's state is gone within a day
    # A consumer that was stopped for a week misses no deletion.
    "delete.retention.ms": str(7 * 24 * _HOUR_MS),
    "segment.ms": str(6 * _HOUR_MS),  # only closed segments are compacted
    "min.cleanable.dirty.ratio": "0.1",  # keeps a full read of the topic short
    "message.timestamp.type": "CreateTime",  # when the key changed, not when Kafka received the record
    # No compression.type: Python's clients need further libraries to read lz4, snappy and zstd.
}

_NONE, _TOPIC_UNKNOWN, _TOPIC_EXISTS = 0, 3, 36
_FORBIDDEN = {29, 30, 31}
_CHECKED = {
    "cleanup.policy": "compact",
    "min.insync.replicas": "0",
    "max.message.bytes": str(MAX_RECORD_BYTES),
}
"""The parts of the configuration that are checked, with values without problem for those that are not reported."""

_DEFAULT_REPLICAS = 3
_SAFE_IN_SYNC = 2


@dataclass(frozen=True, slots=True)
class TopicState:
    """The result of a check.

    Attributes:
        created: Whether the check created the topic.
        problems: Errors; with any of them publishing fails or consumers receive wrong data.
        warnings: Publishing works, but with lower durability.
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
    timeout: float = 10.0,  # noqa: ASYNC109 -- a bound for all requests together
    outage: Outage | None = None,
) -> TopicState:
    """Compare the topic with the service's requirements.

    Args:
        connection: The connection settings.
        topic: The topic's name.
        partitions: The required number of partitions, one per shard.
        create: Whether to create a missing topic.
        replication_factor: Of a topic that is created; None: three, or the number of brokers if there are fewer.
        timeout: The longest wait in seconds, for all requests together.
        outage: Records that no broker responds, and delays further attempts.

    Raises:
        KafkaUnavailableError: Kafka is unreachable or does not respond in time.
    """
    client = KafkaClient(connection, request_timeout=timeout, outage=outage)
    try:
        async with asyncio.timeout(timeout):
            metadata = await client.topic_metadata(topic)
            if metadata.error == _TOPIC_UNKNOWN and create:
                factor = replication_factor or min(_DEFAULT_REPLICAS, metadata.brokers)
                return await _create(client, topic, partitions, factor)
            return await _inspect(client, topic, partitions, metadata)
    except TimeoutError:
        raise KafkaUnavailableError(f"the topic {topic} could not be checked within {timeout:g} s") from None
    finally:
        await client.close()


async def _create(client: KafkaClient, topic: str, partitions: int, replication_factor: int) -> TopicState:
    # Less than the replication factor, so that writes succeed while one broker is down.
    in_sync = min(_SAFE_IN_SYNC, max(1, replication_factor - 1))
    config = {**TOPIC_CONFIG, "min.insync.replicas": str(in_sync)}
    code, message = await client.create_topic(
        topic, partitions=partitions, replication_factor=replication_factor, config=config
    )
    if code == _TOPIC_EXISTS:  # another process has created it, and this broker's metadata is older
        raise KafkaUnavailableError(f"the topic {topic} is being created")
    if code in _FORBIDDEN:
        return _problem(f"This user may not create the topic {topic}: give it Create, or create the topic yourself.")
    if code != _NONE:
        return _problem(f"The topic {topic} could not be created: {message}.")
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
    problems = _partition_problems(topic, partitions, metadata)
    code, config = await client.topic_config(topic)
    if code != _NONE:
        warning = (
            f"The configuration of the topic {topic} is not checked ({error_name(code)}): "
            "give this user DescribeConfigs on it."
        )
        return TopicState(created=False, problems=tuple(problems), warnings=(warning,))
    problems += _config_problems(topic, metadata.replication_factor, config)
    warnings = _warnings(int(config.get("min.insync.replicas") or _SAFE_IN_SYNC))
    if missing := [name for name in _CHECKED if not config.get(name)]:
        warnings += (f"This Kafka does not report {', '.join(missing)} of the topic {topic}: check it yourself.",)
    return TopicState(created=False, problems=tuple(problems), warnings=warnings)


def _partition_problems(topic: str, partitions: int, metadata: TopicMetadata) -> list[str]:
    if metadata.partitions == partitions:
        return []
    message = (
        f"The topic {topic} has {metadata.partitions} partitions and must have {partitions}: "
        "the partitions of an existing topic cannot be corrected, so use another topic."
    )
    return [message]


def _config_problems(topic: str, replicas: int, config: Mapping[str, str]) -> list[str]:
    problems = []
    policy, *numbers = (config.get(name) or default for name, default in _CHECKED.items())
    in_sync, largest = map(int, numbers)
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
    if in_sync > replicas:
        problems.append(
            f"The topic {topic} has min.insync.replicas={in_sync} and a replication factor of {replicas}, "
            f"so releases of Kafka differ in whether anything can be written: set it to {replicas} or less."
        )
    return problems


def _warnings(in_sync: int) -> tuple[str, ...]:
    if in_sync >= _SAFE_IN_SYNC:
        return ()
    message = (
        f"With min.insync.replicas={in_sync} an acknowledged event is lost if one broker loses its disk: "
        "in production use a replication factor of 3 and min.insync.replicas=2."
    )
    return (message,)


def _problem(message: str) -> TopicState:
    return TopicState(created=False, problems=(message,), warnings=())


async def watch_topic(
    connection: KafkaConnection, topic: str, *, partitions: int, create: bool, outage: Outage
) -> None:
    """Check the topic, retrying while Kafka is unavailable, and log its problems and warnings once.

    Args:
        connection: The connection settings.
        topic: The topic's name.
        partitions: The required number of partitions.
        create: Whether to create a missing topic.
        outage: As `check_topic`.
    """
    while True:
        try:
            state = await check_topic(connection, topic, partitions=partitions, create=create, outage=outage)
        except KafkaFailureError as error:
            _log.log(error.log_level, "topic_not_checked", error=str(error), retry_in_seconds=_RETRY_DELAY)
            await asyncio.sleep(_RETRY_DELAY)
            continue
        for problem in state.problems:
            _log.error("topic_config_wrong", problem=problem)
        for warning in state.warnings:
            _log.warning("topic_durability_low", warning=warning)
        return
