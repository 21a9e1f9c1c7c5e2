"""E13: idle connections, headers and bodies that never end, and bodies that decompress to gigabytes."""

import asyncio
import gzip
import resource
import time
from contextlib import suppress
from typing import Final

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from testkit.http_client import request_bytes
from testkit.replica import Replica

_IDLE: Final = 10_000
_SLOW: Final = 1_000
_COMPRESSED: Final = 100
_KEEPALIVE_TIMEOUT: Final = 10.0
_BODY_TIMEOUT: Final = 2.0
_CLOSED_BOUND: Final = _KEEPALIVE_TIMEOUT + _BODY_TIMEOUT + 5
_NOISE: Final = 0.1  # seconds
_MEMORY_BOUND: Final = 256 * 1024 * 1024
"""Bytes: the memory limit of a replica in the deployment."""

_PARALLEL_CONNECTS: Final = 200
_FEW_DESCRIPTORS: Final = 150

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Other clients notice little, slow ones are disconnected in time; a lack of descriptors ends nothing."""
    async with new_experiment(
        servers,
        plan,
        replicas=1,
        KEEPALIVE_TIMEOUT=str(_KEEPALIVE_TIMEOUT),
        HEADER_TIMEOUT=str(_KEEPALIVE_TIMEOUT),
        MAX_NEW_CONNECTIONS="0",  # all slow clients have one address
        BODY_TIMEOUT=str(_BODY_TIMEOUT),
        MAX_REQUESTS="3000",
    ) as experiment:
        [replica] = experiment.replicas
        async with experiment.under_load():
            await experiment.load.wait_for_acknowledged(100)
            for number in range(plan.rounds):
                experiment.report_round(number)
                await _connect_slow_clients(experiment, replica)
            experiment.expect_no_failures()
            await _exhaust_descriptors(experiment, replica)
        return await experiment.check(duplicates=0)


async def _connect_slow_clients(experiment: Experiment, replica: Replica) -> None:
    before = experiment.load.latency()
    clients = await _open_slow_clients(experiment, replica.port)
    opened_at = time.monotonic()
    experiment.metrics["slow clients"] = str(len(clients))
    bound = _CLOSED_BOUND * (2 if experiment.plan.short else 1)
    connected = await _count_connected(clients, bound)
    experiment.expect(not connected, f"{connected} slow clients are still connected after {bound:g} s")
    experiment.metrics["disconnected after"] = f"{time.monotonic() - opened_at:.1f} s"
    # Not while they connect: that keeps this process busy, the other clients included.
    during = experiment.load.latency(since=opened_at)
    experiment.expect_within(during, max(5 * before, _NOISE), f"p99, {before * 1000:.0f} ms before,")
    experiment.metrics["p99 before and during"] = f"{before * 1000:.0f} and {during * 1000:.0f} ms"
    memory = replica.process.resident_memory()
    experiment.metrics["memory"] = f"{memory >> 20} MiB"
    experiment.expect(memory <= _MEMORY_BOUND, f"{memory >> 20} MiB of memory are resident")


async def _open_slow_clients(experiment: Experiment, port: int) -> list[Streams]:
    part = 0.03 if experiment.plan.short else 1
    compressed = gzip.compress(bytes(2**24 if experiment.plan.short else 2**28))
    encoding = {"Content-Encoding": "gzip", "Content-Length": str(len(compressed))}
    partial_requests = (
        (int(_IDLE * part), b""),
        (int(_SLOW * part), b"POST / HTTP/1.1\r\nHost: x\r\nX-Half: "),
        (int(_SLOW * part), _create_head(experiment, {"Content-Length": "100"}) + b'{"na'),
        (max(3, int(_COMPRESSED * part)), _create_head(experiment, encoding) + compressed[:60000]),
    )
    clients: list[Streams] = []
    for number, sent in partial_requests:
        clients += await _open(port, number, sent)
    return clients


def _create_head(experiment: Experiment, headers: dict[str, str]) -> bytes:
    path, token = experiment.deployment.tenants[0].keys_path, experiment.deployment.token
    return request_bytes("POST", path, token=token, headers={"Content-Type": "application/json", **headers})


async def _open(port: int, number: int, sent: bytes) -> list[Streams]:
    """Open connections and send the start of a request on each."""
    opened: list[Streams] = []
    while len(opened) < number:
        wanted = min(_PARALLEL_CONNECTS, number - len(opened))
        opened += await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(wanted)))
    for _, writer in opened:
        if sent:
            writer.write(sent)
    return opened


async def _count_connected(clients: list[Streams], bound: float) -> int:
    """Return the number of connections that the server did not close within ``bound`` seconds."""

    async def wait_for_close(streams: Streams) -> None:
        with suppress(OSError):
            while await streams[0].read(65536):
                pass
        streams[1].close()

    tasks = [asyncio.create_task(wait_for_close(streams)) for streams in clients]
    _, pending = await asyncio.wait(tasks, timeout=bound)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _, writer in clients:
        writer.close()
    return len(pending)


async def _exhaust_descriptors(experiment: Experiment, replica: Replica) -> None:
    """Open more connections than the process may have descriptors; it recovers when they are closed."""
    limits = resource.prlimit(replica.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(replica.process.pid, resource.RLIMIT_NOFILE, (_FEW_DESCRIPTORS, limits[1]))
    connections = await _open(replica.port, 2 * _FEW_DESCRIPTORS, b"")
    await asyncio.sleep(1)
    for _, writer in connections:
        writer.close()
    await experiment.load.wait_for_acknowledged(30, timeout=30)
    resource.prlimit(replica.process.pid, resource.RLIMIT_NOFILE, limits)
    experiment.expect(
        replica.process.running, f"the replica exited without descriptors: {replica.process.exit_status}"
    )
