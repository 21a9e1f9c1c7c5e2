"""The port of a server: chosen once, stored with its data, and replaced if another program uses it."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from service.dev.errors import EmbeddedServerError

# Below the range of ports that Linux assigns to outgoing connections: a client that keeps trying to reach a stopped
# server could be assigned the server's port, and connect to itself.
_CHOICE = range(15_000, 30_000)
_TRIES = 100


def remembered_port(file: Path, *, server: str, report: Callable[[str], None], other_than: int = 0) -> int:
    """Return the port that a server should listen on, which is free now.

    Args:
        file: The file that stores the port between runs.
        server: The name of the server in messages.
        report: Receives a message when the stored port is in use.
        other_than: Another port of the same server.

    Raises:
        EmbeddedServerError: No free port was found.
    """
    remembered = _read(file)
    if remembered is not None and remembered != other_than and _is_free(remembered):
        return remembered
    port = free_port(server, other_than=other_than)
    file.write_text(f"{port}\n")
    if remembered is not None:
        report(f"Port {remembered} is in use by another program; {server} now uses the port {port}.")
    return port


def free_port(server: str = "A server", *, other_than: int = 0) -> int:
    """Return a port of 127.0.0.1 that is not in use.

    Args:
        server: The name of the server in the error.
        other_than: A port to exclude.

    Raises:
        EmbeddedServerError: No free port could be found.
    """
    for _ in range(_TRIES):
        port = secrets.choice(_CHOICE)
        if port != other_than and _is_free(port):
            return port
    raise EmbeddedServerError(f"{server} found no free port on 127.0.0.1 in {_TRIES} attempts.")


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of the last run in TIME_WAIT do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
