"""`python -m bench.outages`: what one shard, one replica and one of three brokers failing does to freshness.

Two replicas, three brokers, a steady stream of creates; each failure is done some seconds into it and mended at its
end. An event's delay runs from the request for its key until a foreign consumer has it.
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

from bench.processes import BenchError
from bench.stream import Effect, Stream, effect_of
from bench.subject import TOPIC, Subject, environment_of, prepared, replica
from service.dev.kafka_cluster import EmbeddedKafkaCluster
from service.dev.postgres import EmbeddedPostgres
from service.domain.partitioning import SHARDS
from service.kafka.config import KafkaConnection
from service.kafka.producer import FencedProducer

_CACHE: Final = Path(".cache").absolute()
_BEFORE: Final = 3.0
_AFTER: Final = 17.0
"""Seconds of the stream before a failure, and after it."""

_SETTLED_WITHIN: Final = 60.0
_HEADING: Final = (
    f"| what fails | shards with late events, of {SHARDS} | longest delay of an event | fresh again after "
    "| p99 of the other shards |"
)
_KEYS_PATH: Final = "/api/0/projects/bench/outages/keys/"


@dataclass(frozen=True, slots=True)
class Scene:
    """What runs; ``environment`` is what another replica needs. The stream goes to the first replica."""

    directory: Path
    environment: Mapping[str, str]
    cluster: EmbeddedKafkaCluster
    first: Subject


Harm = Callable[[Scene, Subject], Awaitable[None]]


async def _nothing(_scene: Scene, _second: Subject) -> None:
    """The ordinary course."""


async def _fence(scene: Scene, _second: Subject) -> None:
    """Somebody else opens a shard in Kafka, as a process does that wrongly takes it for its own."""
    connection = KafkaConnection(tuple(scene.cluster.bootstrap_servers.split(",")))
    stranger = FencedProducer(connection, topic=TOPIC)
    try:
        await stranger.open(0)
    finally:
        await stranger.close()


def _signal(number: signal.Signals) -> Harm:
    async def send(_scene: Scene, second: Subject) -> None:
        os.kill(second.pid, number)

    return send


async def _kill_broker(scene: Scene, _second: Subject) -> None:
    scene.cluster.brokers[0].kill()


HARMS: Final[Mapping[str, Harm]] = {
    "nothing": _nothing,
    "one shard: its session is fenced off": _fence,
    "one replica of two: SIGTERM": _signal(signal.SIGTERM),
    "one replica of two: SIGKILL": _signal(signal.SIGKILL),
    "one replica of two: frozen (SIGSTOP)": _signal(signal.SIGSTOP),
    "one broker of three: SIGKILL": _kill_broker,
}


async def _measure(scene: Scene, harm: Harm) -> Effect:
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(
            replica(scene.environment, scene.first.token, scene.directory)
        )
        stack.callback(_let_go, second.pid)
        await _settled(scene.first)
        url = f"http://127.0.0.1:{scene.first.port}{_KEYS_PATH}"
        stream = Stream(url, scene.first.token)
        await stack.enter_async_context(_consuming(scene, stream))
        running = asyncio.create_task(stream.run(_BEFORE + _AFTER))
        await asyncio.sleep(_BEFORE)
        harmed_at = time.monotonic()
        await harm(scene, second)
        await running
    if harm is _kill_broker:
        await scene.cluster.brokers[0].start()
    return effect_of(stream, harmed_at)


def _let_go(pid: int) -> None:
    """A frozen process hears of no other signal."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


async def _settled(first: Subject) -> None:
    """Wait until both replicas have their half."""
    deadline = time.monotonic() + _SETTLED_WITHIN
    while (await first.samples())["projectkeys_shards_owned"] != SHARDS // 2:
        if time.monotonic() > deadline:
            raise BenchError(f"the shards are not shared after {_SETTLED_WITHIN:g} s")
        await asyncio.sleep(0.1)
    await first.drained()


@asynccontextmanager
async def _consuming(scene: Scene, stream: Stream) -> AsyncIterator[None]:
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=scene.cluster.bootstrap_servers,
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
async def _scene(directory: Path) -> AsyncIterator[Scene]:
    postgres = EmbeddedPostgres(directory / "postgres", report=_say)
    cluster = EmbeddedKafkaCluster(directory / "kafka", cache_dir=_CACHE, report=_say)
    try:
        await asyncio.gather(postgres.start(), cluster.start())
        environment = environment_of(postgres.url, cluster.bootstrap_servers)
        token = await prepared(environment)
        async with replica(environment, token, directory) as first:
            await first.ask("POST", "/api/0/organizations/", {"name": "bench", "slug": "bench"})
            project = {"name": "outages", "defaultKey": False}
            await first.ask("POST", "/api/0/organizations/bench/projects/", project)
            yield Scene(directory, environment, cluster, first)
    finally:
        cluster.kill()
        await postgres.stop()


async def _run(rounds: int) -> dict[str, list[Effect]]:
    found: dict[str, list[Effect]] = {name: [] for name in HARMS}
    with tempfile.TemporaryDirectory(prefix="projectkeys-outages-") as place:
        async with _scene(Path(place)) as scene:
            for number in range(rounds):
                for name, harm in HARMS.items():
                    found[name].append(await _measure(scene, harm))
                    _say(f"round {number + 1}: {name}: {found[name][-1]}")
    return found


def _table(found: Mapping[str, Sequence[Effect]]) -> str:
    """The table of the README, one line a failure; each figure as its least and greatest of all rounds."""
    lines = [_HEADING, "| --- | --- | --- | --- | --- |"]
    for name, effects in found.items():
        cells = (
            name,
            _range([one.shards for one in effects], ".0f"),
            _range([one.longest for one in effects], ".1f") + " s",
            _range([one.fresh_after for one in effects], ".1f") + " s",
            _range([one.others for one in effects], ".2f") + " s",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(values: Sequence[float], form: str) -> str:
    least, greatest = f"{min(values):{form}}", f"{max(values):{form}}"
    return least if least == greatest else f"{least}-{greatest}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.outages", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each failure (3)")
    try:
        print(_table(asyncio.run(_run(parser.parse_args().rounds))))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
