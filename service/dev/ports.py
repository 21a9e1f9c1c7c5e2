"""A server's port: chosen once, remembered beside its data, chosen anew when another program has taken it."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from service.dev.errors import EmbeddedServerError

# Below the range from which Linux takes the ports of outgoing connections: from there, a client that tries
# again and again to reach a stopped server would one day be given that server's port, and reach itself.
_CHOICE = range(15_000, 30_000)
_TRIES = 100


def remembered_port(file: Path, *, server: str, report: Callable[[str], None], other_than: int = 0) -> int:
    """Return the port that a server should listen on, free at this moment.

    Args:
        file: Where the number is kept between runs.
        server: The server's name in the words for the user.
        report: Is told when the port of the last run is taken.
        other_than: A port that the same server is about to take.

    Raises:
        EmbeddedServerError: No free port could be found.
    """
    remembered = _read(file)
    if remembered is not None and remembered != other_than and _is_free(remembered):
        return remembered
    port = free_port(server, other_than=other_than)
    file.write_text(f"{port}\n")
    if remembered is not None:
        report(f"Port {remembered} is taken by another program: {server} is now on {port}.")
    return port


def free_port(server: str = "A server", *, other_than: int = 0) -> int:
    """Return a port of 127.0.0.1 on which nothing listens.

    Args:
        server: The server's name in the error.
        other_than: A port to leave out.

    Raises:
        EmbeddedServerError: No free port could be found.
    """
    for _ in range(_TRIES):
        port = secrets.choice(_CHOICE)
        if port != other_than and _is_free(port):
            return port
    raise EmbeddedServerError(f"{server} found no free port on 127.0.0.1 in {_TRIES} tries.")


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection of the last run that still fades away is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
