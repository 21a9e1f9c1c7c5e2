"""`python -m bench.outages`: delays of events when one shard, one replica or one of three brokers fails.

Two replicas, three brokers, a steady stream of creates; each failure starts after some seconds and is repaired at the
end. The delay of an event is the time from the request for its key until a consumer receives it.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer

from bench.create_stream import CreateStream, Effect, effect_of
from bench.deployment import TOPIC, MeasuredReplica, migrate_and_create_token, replica, settings_for
from bench.programs import BenchError
from projectkeys_servers.postgres import EmbeddedPostgres
from service.domain.events import SHARDS
from service.kafka.config import KafkaConnection
from service.kafka.producer import FencedProducer
from testkit.cluster import EmbeddedKafkaCluster
from testkit.polling import poll_until
from testkit.processes import resume
from testkit.replica import ReplicaError

_CACHE: Final = Path(".cache").absolute()
_BEFORE: Final = 3.0
_AFTER: Final = 17.0
"""Seconds of the stream before and after the failure."""

_BALANCED_TIMEOUT: Final = 60.0
_HEADING: Final = (
    f"| failure | shards with late events, of {SHARDS} | longest delay of an event | recovered after "
    "| p99 of other shards |"
)
_KEYS_PATH: Final = "/api/0/projects/bench/outages/keys/"


@dataclass(frozen=True, slots=True)
class Environment:
    """The running programs; ``settings`` are those of all replicas; the first replica receives the creates."""

    directory: Path
    settings: Mapping[str, str]
    cluster: EmbeddedKafkaCluster
    first: MeasuredReplica


Failure = Callable[[Environment, MeasuredReplica], Awaitable[None]]


async def _no_failure(_environment: Environment, _second: MeasuredReplica) -> None:
    """Do nothing, for comparison."""


async def _fence(environment: Environment, _second: MeasuredReplica) -> None:
    """Open a producer session of a shard, as a process does that takes itself for the owner."""
    connection = KafkaConnection(tuple(environment.cluster.bootstrap_servers.split(",")))
    other = FencedProducer(connection, topic=TOPIC)
    try:
        await other.open(0)
    finally:
        await other.close()


def _signal(number: signal.Signals) -> Failure:
    async def send(_environment: Environment, second: MeasuredReplica) -> None:
        os.kill(second.pid, number)

    return send


async def _kill_broker(environment: Environment, _second: MeasuredReplica) -> None:
    environment.cluster.brokers[0].kill()


FAILURES: Final[Mapping[str, Failure]] = {
    "nothing": _no_failure,
    "one shard: its producer is fenced": _fence,
    "one replica of two: SIGTERM": _signal(signal.SIGTERM),
    "one replica of two: SIGKILL": _signal(signal.SIGKILL),
    "one replica of two: paused (SIGSTOP)": _signal(signal.SIGSTOP),
    "one broker of three: SIGKILL": _kill_broker,
}


async def _measure(environment: Environment, failure: Failure) -> Effect:
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(
            replica(environment.settings, environment.first.token, environment.directory)
        )
        stack.callback(resume, second.pid)
        await _wait_until_balanced(environment.first)
        url = f"http://127.0.0.1:{environment.first.port}{_KEYS_PATH}"
        stream = CreateStream(url, environment.first.token)
        await stack.enter_async_context(_consuming(environment, stream))
        running = asyncio.create_task(stream.run(_BEFORE + _AFTER))
        await asyncio.sleep(_BEFORE)
        failed_at = time.monotonic()
        await failure(environment, second)
        await running
    if failure is _kill_broker:
        await environment.cluster.brokers[0].start()
    return effect_of(stream, failed_at)


async def _wait_until_balanced(first: MeasuredReplica) -> None:
    """Wait until each replica owns half of the shards."""

    async def is_balanced() -> bool:
        return (await first.metrics())["shards_owned"] == SHARDS // 2

    await poll_until(
        is_balanced,
        timeout=_BALANCED_TIMEOUT,
        interval=0.1,
        error=lambda: BenchError(f"the shards are not balanced after {_BALANCED_TIMEOUT:g} s"),
    )
    await first.wait_until_published()


@asynccontextmanager
async def _consuming(environment: Environment, stream: CreateStream) -> AsyncIterator[None]:
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=environment.cluster.bootstrap_servers,
        fetch_max_wait_ms=50,
        metadata_max_age_ms=1000,
    )
    await consumer.start()
    for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
        consumer.seek(partition, end)
    task = asyncio.create_task(stream.consume(consumer))
    try:
        yield
    finally:
        task.cancel()
        await consumer.stop()


@asynccontextmanager
async def _environment(directory: Path) -> AsyncIterator[Environment]:
    postgres = EmbeddedPostgres(directory / "postgres", report=_report)
    cluster = EmbeddedKafkaCluster(directory / "kafka", cache_dir=_CACHE, report=_report)
    try:
        await asyncio.gather(postgres.start(), cluster.start())
        settings = settings_for(postgres.url, cluster.bootstrap_servers)
        token = await migrate_and_create_token(settings)
        async with replica(settings, token, directory) as first:
            await first.post("/api/0/organizations/", {"name": "bench", "slug": "bench"})
            project = {"name": "outages", "defaultKey": False}
            await first.post("/api/0/organizations/bench/projects/", project)
            yield Environment(directory, settings, cluster, first)
    finally:
        cluster.kill()
        await postgres.stop()


async def _run(rounds: int) -> dict[str, list[Effect]]:
    effects: dict[str, list[Effect]] = {name: [] for name in FAILURES}
    with tempfile.TemporaryDirectory(prefix="projectkeys-outages-") as directory:
        async with _environment(Path(directory)) as environment:
            for number in range(rounds):
                for name, failure in FAILURES.items():
                    effects[name].append(await _measure(environment, failure))
                    _report(f"round {number + 1}: {name}: {effects[name][-1]}")
    return effects


def _table(found: Mapping[str, Sequence[Effect]]) -> str:
    """Return a Markdown table with one row for each failure: minimum and maximum of all rounds."""
    lines = [_HEADING, "| --- | --- | --- | --- | --- |"]
    for name, effects in found.items():
        cells = (
            name,
            _range([effect.shards for effect in effects], ".0f"),
            _range([effect.longest for effect in effects], ".1f") + " s",
            _range([effect.recovered_after for effect in effects], ".1f") + " s",
            _range([effect.others for effect in effects], ".2f") + " s",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(values: Sequence[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}-{high}"


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.outages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each failure (default 3)")
    try:
        print(_table(asyncio.run(_run(parser.parse_args().rounds))))
    except (BenchError, ReplicaError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
