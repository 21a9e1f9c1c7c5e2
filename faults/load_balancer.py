"""Distributes connections among replicas like a cluster network, whose list of targets is updated late."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class LoadBalancer:
    """Connects each new connection of ``port`` with one of ``targets``; existing connections stay."""

    def __init__(self, port: int, targets: list[int], rng: random.Random) -> None:
        self.port = port
        self.targets = targets
        self._rng = rng
        self.tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client; the connection is aborted if the target does not accept it."""
        task = asyncio.get_running_loop().create_task(self._connect(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._rng.choice(self.targets))
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))
        finally:
            writer.close()
            target_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def load_balancer(port: int, targets: list[int], rng: random.Random) -> AsyncIterator[LoadBalancer]:
    """Run a load balancer during the block."""
    created = LoadBalancer(port, targets, rng)
    server = await asyncio.start_server(created.accept, "127.0.0.1", port)
    try:
        yield created
    finally:
        server.close()
        for task in created.tasks:
            task.cancel()
        await asyncio.gather(*created.tasks, return_exceptions=True)
