"""Spreads connections over replicas as a cluster's network does: by a list that is always a little old."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Balancer:
    """Leads each new connection of ``port`` to one of ``targets``; those that exist stay where they are."""

    def __init__(self, port: int, targets: list[int], rng: random.Random) -> None:
        self.port = port
        self.targets = targets
        self._rng = rng
        self.tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead a connection; nobody tries elsewhere if there is nobody."""
        task = asyncio.get_running_loop().create_task(self._lead(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection("127.0.0.1", self._rng.choice(self.targets))
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_carry(reader, far[1]), _carry(far[0], writer))
        finally:
            writer.close()
            far[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def balancer(port: int, targets: list[int], rng: random.Random) -> AsyncIterator[Balancer]:
    """A balancer, for the time of the block."""
    made = Balancer(port, targets, rng)
    server = await asyncio.start_server(made.accept, "127.0.0.1", port)
    try:
        yield made
    finally:
        server.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
