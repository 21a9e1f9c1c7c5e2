"""A proxy that terminates TLS for a PostgreSQL without TLS support, with PostgreSQL's SSLRequest."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_SSL_REQUEST = (80877103).to_bytes(4)
_ACCEPTED = b"S"
_ERROR_MESSAGE = 'no pg_hba.conf entry for host "127.0.0.1", no encryption'


@dataclass(slots=True)
class TlsFront:
    """The port of the proxy, and the TLS version of each connection that it accepted."""

    port: int = 0
    versions: list[str] = field(default_factory=list)


@asynccontextmanager
async def tls_front(port: int, context: ssl.SSLContext) -> AsyncIterator[TlsFront]:
    """Forward encrypted connections to 127.0.0.1:``port``; refuse others as a server with `hostssl` does."""
    front = TlsFront()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(8)
            if head[4:] != _SSL_REQUEST:
                writer.write(_error(_ERROR_MESSAGE))
            else:
                writer.write(_ACCEPTED)
                await writer.start_tls(context)
                front.versions.append(writer.get_extra_info("ssl_object").version())
                await _forward(reader, writer, port)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    front.port = server.sockets[0].getsockname()[1]
    async with server:
        yield front


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _error(message: str) -> bytes:
    """Return an ErrorResponse with severity FATAL and SQLSTATE 28000."""
    fields = b"".join(f"{name}{text}\0".encode() for name, text in (("S", "FATAL"), ("C", "28000"), ("M", message)))
    return b"E" + (len(fields) + 5).to_bytes(4) + fields + b"\0"
