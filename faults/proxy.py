"""A wire between two parts that can be cut, slowed, silenced and led elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

_CHUNK: Final = 262_144


class Cut(Enum):
    """What becomes of a connection when a chunk of the client's passes."""

    UNDELIVERED = auto()
    """It breaks before the server gets the chunk."""
    UNANSWERED = auto()
    """It breaks when the server has got it and begins to answer."""


@dataclass(slots=True)
class _Wire:
    """One connection through the proxy; ``dropping``: the next answer breaks it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    notes: set[bytes] = field(default_factory=set)
    dropping: bool = False

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Connects clients of its port with a server.

    Attributes:
        port: Where it listens.
        target: Where it leads; connections that exist keep theirs.
        to_server: While not set, what clients send is held, and no connection is made for them.
        to_client: While not set, what the server answers is held.
        delay: Seconds by which each chunk of the server's is late.
        watch: Sees each chunk of a client's, with what it noted of this connection before, and may cut.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.to_server = asyncio.Event()
        self.to_client = asyncio.Event()
        self.delay = 0.0
        self.watch: Callable[[bytes, set[bytes]], Cut | None] = lambda _chunk, _notes: None
        self._wires: set[asyncio.Task[None]] = set()
        self._open: list[_Wire] = []
        self._server: asyncio.Server | None = None
        self.heal()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._wires)

    def silence(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Let nothing through any more, and break nothing: as a lost route does."""
        if to_server:
            self.to_server.clear()
        if to_client:
            self.to_client.clear()

    def heal(self) -> None:
        """Let everything through again."""
        self.to_server.set()
        self.to_client.set()

    def cut(self) -> None:
        """Reset every connection."""
        for wire in list(self._open):
            wire.abort()

    async def refuse(self) -> None:
        """Reset every connection and take no new one."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    async def listen(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_CHUNK)

    async def close(self) -> None:
        """End everything."""
        await self.refuse()
        for task in self._wires:
            task.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._join(reader, writer))
        self._wires.add(task)
        task.add_done_callback(self._wires.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.to_server.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        wire = _Wire(writer, far_writer)
        self._open.append(wire)
        try:
            await asyncio.gather(self._send(reader, wire), self._answer(far_reader, wire))
        except OSError:
            pass
        finally:
            wire.abort()
            self._open.remove(wire)

    async def _send(self, reader: asyncio.StreamReader, wire: _Wire) -> None:
        while chunk := await reader.read(_CHUNK):
            await self.to_server.wait()
            cut = self.watch(chunk, wire.notes)
            if cut is Cut.UNDELIVERED:
                raise ConnectionResetError
            wire.dropping = wire.dropping or cut is Cut.UNANSWERED
            wire.server.write(chunk)
            await wire.server.drain()
        wire.server.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, wire: _Wire) -> None:
        while chunk := await reader.read(_CHUNK):
            if wire.dropping:
                raise ConnectionResetError
            await self.to_client.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            wire.client.write(chunk)
            await wire.client.drain()
        raise ConnectionResetError  # the server has gone: so does the client's connection


@asynccontextmanager
async def proxy(port: int, target: int) -> AsyncIterator[Proxy]:
    """A proxy that listens, for the time of the block."""
    made = Proxy(port, target)
    await made.listen()
    try:
        yield made
    finally:
        await made.close()
