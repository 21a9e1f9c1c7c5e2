"""The port of a server: chosen at random, stored with its data, and replaced if another program uses it."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from projectkeys_servers.errors import EmbeddedServerError

# Below the range of ports that Linux assigns to outgoing connections. Otherwise a client that repeatedly connects to
# a stopped server could be assigned the port of the server, and connect to itself.
_PORTS = range(15_000, 30_000)
_ATTEMPTS = 100


def assign_port(file: Path, *, server: str, report: Callable[[str], None], other_than: int = 0) -> int:
    """Return the stored port of a server if it is free; otherwise choose and store another port.

    Args:
        file: The file that contains the port.
        server: The name of the server in messages.
        report: Receives a message when the stored port is in use.
        other_than: A port to exclude.

    Raises:
        EmbeddedServerError: No free port was found.
    """
    stored = _read(file)
    if stored is not None and stored != other_than and _is_free(stored):
        return stored
    port = free_port(server, other_than=other_than)
    file.write_text(f"{port}\n")
    if stored is not None:
        report(f"Port {stored} is in use by another program; {server} uses port {port} from now on.")
    return port


def free_port(server: str = "A server", *, other_than: int = 0) -> int:
    """Return a port of 127.0.0.1 that is not in use.

    Args:
        server: The name of the server in the error.
        other_than: A port to exclude.

    Raises:
        EmbeddedServerError: No free port was found.
    """
    for _ in range(_ATTEMPTS):
        port = secrets.choice(_PORTS)
        if port != other_than and _is_free(port):
            return port
    raise EmbeddedServerError(f"{server}: no free port of 127.0.0.1 was found in {_ATTEMPTS} attempts.")


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers set it too, since connections of the last run in TIME_WAIT do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
