"""Clients that send requests and read nothing of the responses, and what the service's process keeps for them."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from tests.processes import DeployedReplica

_RECEIVE_BUFFER: Final = 4096
_CLOSED: Final = 7
"""TCP_CLOSE of the kernel: a connection that its other end only closes is in another state until all is read."""


@contextlib.contextmanager
def unread_requests(port: int, number: int, request: bytes) -> Iterator[list[socket.socket]]:
    """Connections on which ``request`` is sent and nothing is read; closed at the end of the block."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(number):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            client.connect(("127.0.0.1", port))
            client.settimeout(0)  # the service stops reading while it cannot send
            with contextlib.suppress(BlockingIOError):
                client.send(request)
            sockets.append(client)
        yield sockets


def is_aborted(client: socket.socket) -> bool:
    """Whether the service has reset the connection; reads nothing."""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def slowest_livez(replica: DeployedReplica, *, seconds: float) -> float:
    """The longest time of a ``/livez`` within ``seconds``."""
    slowest, end = 0.0, time.monotonic() + seconds
    async with ClientSession() as session:
        while (began := time.monotonic()) < end:
            async with session.get(f"http://127.0.0.1:{replica.ops_port}/livez") as response:
                assert response.status == 200
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.02)
    return slowest
