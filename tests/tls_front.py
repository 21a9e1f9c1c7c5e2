"""TLS in front of a PostgreSQL that was built without it, with PostgreSQL's own way of asking for it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_TLS_PLEASE = (80877103).to_bytes(4)
_YES = b"S"
_REFUSAL = 'no pg_hba.conf entry for host "127.0.0.1", no encryption'


@dataclass(slots=True)
class TlsFront:
    """Where it listens, and the TLS versions of the connections that it has let through."""

    port: int = 0
    versions: list[str] = field(default_factory=list)


@asynccontextmanager
async def tls_front(port: int, context: ssl.SSLContext) -> AsyncIterator[TlsFront]:
    """Lets encrypted connections through to 127.0.0.1:``port``; refuses plain ones as a server with hostssl does."""
    front = TlsFront()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(8)
            if head[4:] != _TLS_PLEASE:
                writer.write(_error(_REFUSAL))
            else:
                writer.write(_YES)
                await writer.start_tls(context)
                front.versions.append(writer.get_extra_info("ssl_object").version())
                await _join(reader, writer, port)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    front.port = server.sockets[0].getsockname()[1]
    async with server:
        yield front


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _error(words: str) -> bytes:
    """An ErrorResponse: FATAL, 28000."""
    fields = b"".join(
        f"{name}{text}\0".encode() for name, text in (("S", "FATAL"), ("C", "28000"), ("M", words))
    )
    return b"E" + (len(fields) + 5).to_bytes(4) + fields + b"\0"
