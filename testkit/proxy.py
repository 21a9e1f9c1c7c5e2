"""A TCP proxy that can block, delay, reset and redirect connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from projectkeys_servers.ports import free_port

_CHUNK: Final = 262_144


class Cut(Enum):
    """Where a connection breaks when a chunk from the client passes."""

    UNDELIVERED = auto()
    """Before the server receives the chunk."""
    UNANSWERED = auto()
    """After the server received the chunk, when it starts to respond."""


@dataclass(slots=True)
class _Link:
    """One connection through the proxy; if ``dropping``, the next response breaks it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    notes: set[bytes] = field(default_factory=set)
    dropping: bool = False

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Connects clients of its port with a server of this machine.

    Attributes:
        port: The port that it listens on.
        target: The server's port; existing connections keep theirs.
        to_server: While not set, data from clients is held back and no connection to the server is opened.
        to_client: While not set, data from the server is held back.
        held: Data from clients that is held back.
        delay: Seconds by which each chunk from the server is delayed.
        inspect: Is called with each chunk from a client and with a set of notes, which is kept for the connection;
            returns where to cut the connection, or None.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.to_server = asyncio.Event()
        self.to_client = asyncio.Event()
        self.held: list[bytes] = []
        self.delay = 0.0
        self.inspect: Callable[[bytes, set[bytes]], Cut | None] = lambda _chunk, _notes: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: list[_Link] = []
        self._server: asyncio.Server | None = None
        self.unblock()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._tasks)

    @property
    def address(self) -> str:
        """The `host:port` that it listens on."""
        return f"127.0.0.1:{self.port}"

    def block(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Hold back the data of the given directions without an error, as a lost route does."""
        if to_server:
            self.to_server.clear()
        if to_client:
            self.to_client.clear()

    def unblock(self) -> None:
        """Pass data in both directions."""
        self.to_server.set()
        self.to_client.set()

    def reset_connections(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            link.abort()

    async def refuse_connections(self) -> None:
        """Reset every connection and accept no other."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset_connections()

    async def listen(self) -> None:
        """Accept connections."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_CHUNK)

    async def close(self) -> None:
        """Close every connection and stop listening."""
        await self.refuse_connections()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.to_server.wait()
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        link = _Link(writer, server_writer)
        self._links.append(link)
        try:
            await asyncio.gather(self._send(reader, link), self._respond(server_reader, link))
        except OSError:
            pass
        finally:
            link.abort()
            self._links.remove(link)

    async def _send(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while chunk := await reader.read(_CHUNK):
            self.held.append(chunk)
            await self.to_server.wait()
            self.held.remove(chunk)
            cut = self.inspect(chunk, link.notes)
            if cut is Cut.UNDELIVERED:
                raise ConnectionResetError
            link.dropping = link.dropping or cut is Cut.UNANSWERED
            link.server.write(chunk)
            await link.server.drain()
        link.server.write_eof()

    async def _respond(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while chunk := await reader.read(_CHUNK):
            if link.dropping:
                raise ConnectionResetError
            await self.to_client.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            link.client.write(chunk)
            await link.client.drain()
        raise ConnectionResetError  # the server closed its side: the client's connection ends too


@asynccontextmanager
async def proxy(target: int, *, port: int = 0) -> AsyncIterator[Proxy]:
    """Run a listening proxy to a port of this machine during the block; on a free port by default."""
    created = Proxy(port or free_port(), target)
    await created.listen()
    try:
        yield created
    finally:
        await created.close()
