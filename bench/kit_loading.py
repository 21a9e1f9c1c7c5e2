"""The time in which the consumer kit loads all keys, and the memory per key.

A process of its own: `python -m bench.kit_loading` reads a `Plan` as JSON and prints a `Loaded`.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer

from bench import worker
from projectkeys_consumer import NotReadyError, ProjectKeys
from service.domain.events import SHARDS
from service.kafka.config import KafkaConnection
from service.kafka.topic import check_topic
from testkit.event_schemas import event_schemas

KEYS: Final = int(os.environ.get("BENCH_KIT_KEYS", "200000"))
"""Keys in the topic; writing a million takes half a minute."""

LOAD_TIMEOUT: Final = 300.0
"""Seconds; far more than loading takes."""

_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Plan:
    """The topic to load, and its number of keys."""

    bootstrap: str
    topic: str
    keys: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Seconds until ready, and bytes of resident memory before and after."""

    seconds: float
    before: int
    after: int


async def prepare_topic(bootstrap: str, topic: str = "bench-kit", keys: int = KEYS) -> Plan:
    """Create the topic with so many keys unless it exists."""
    checked = await check_topic(KafkaConnection((bootstrap,)), topic, partitions=SHARDS, create=True)
    if checked.created:
        await _fill(bootstrap, topic, keys)
    return Plan(bootstrap, topic, keys)


async def _fill(bootstrap: str, topic: str, keys: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=500_000, linger_ms=5)
    await producer.start()
    try:
        for number, (key, value, headers) in enumerate(_records(keys)):
            sent = await producer.send(topic, key=key, value=value, headers=headers, partition=number % SHARDS)
        await producer.flush()
        await sent
    finally:
        await producer.stop()


def public_key(number: int) -> str:
    """Return the public key of the key with a number from 0."""
    return f"{number:032x}"


def _records(keys: int) -> Iterator[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    """Yield key, value and headers of ``keys`` records, from the contract's examples."""
    envelope: dict[str, str] = event_schemas()["headers.1"].example
    state: dict[str, Any] = event_schemas()["projectkey.created.1"].example
    example_key = state["id"].encode()
    value = orjson.dumps(state)
    headers = [(name, text.encode()) for name, text in envelope.items()]
    for number in range(keys):
        key = public_key(number).encode()
        own_headers = [(name, text.replace(example_key, key)) for name, text in headers]
        yield key, value.replace(example_key, key), own_headers


async def _load(plan: Plan) -> Loaded:
    before, began = _resident(), time.perf_counter()
    async with ProjectKeys(bootstrap_servers=plan.bootstrap, topic=plan.topic) as keys:
        await keys.ready(LOAD_TIMEOUT)
        seconds = time.perf_counter() - began
        if len(keys) != plan.keys:
            raise NotReadyError(f"{len(keys)} keys instead of {plan.keys}")
        return Loaded(seconds, before, _resident())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_SIZE


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _load, failures=(NotReadyError,), loop_factory=None)


if __name__ == "__main__":
    sys.exit(main())
