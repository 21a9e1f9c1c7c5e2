"""Listens on a port: one socket for each address of HOST."""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from service.domain.errors import CommandError
from service.environment import SettingsError

_BACKLOG: Final = 1024
"""Connections that may wait to be accepted; clients open many at the same time."""

_EVERY_ADDRESS: Final = "::"
_EVERY_IPV4_ADDRESS: Final = "0.0.0.0"  # noqa: S104 -- is included in ::

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class PortTakenError(CommandError):
    """A port is in use; the message names the setting that changes it."""


@contextmanager
def listening_sockets(hosts: Sequence[str], port: int, setting: str) -> Iterator[list[socket.socket]]:
    """Listen on a port of each address; close the sockets at the end of the block.

    Without IPv6 in the kernel, ``::`` means the addresses of IPv4.

    Args:
        hosts: Addresses and names; ``::`` includes the addresses of IPv4.
        port: The port; 0: a free one, the same for all addresses.
        setting: The name of the setting of the port, for the error.

    Raises:
        SettingsError: A name cannot be resolved, or this machine does not have an address.
        PortTakenError: The port is in use, or reserved for root.
    """
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, (address, _, *scope) in dict.fromkeys(_resolve(hosts)):
            number = sockets[0].getsockname()[1] if sockets else port
            try:
                bound = stack.enter_context(_listen(family, (address, number, *scope)))
            except OSError as error:
                if sockets and _is_without_ipv6(address, error):
                    continue
                raise _explained(error, address, number, setting) from None
            sockets.append(bound)
        yield sockets


def _resolve(hosts: Sequence[str]) -> Iterator[_Address]:
    for host in hosts:
        if host == _EVERY_ADDRESS:
            yield socket.AF_INET, (_EVERY_IPV4_ADDRESS, 0)
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise SettingsError(
                f"HOST: {host!r} cannot be resolved ({error.strerror}); use an address such as 0.0.0.0 or ::."
            ) from None
        yield from ((family, address) for family, _, _, _, address in found)


def _listen(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _is_without_ipv6(address: str, error: OSError) -> bool:
    return address in {"::", "::1"} and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def _explained(error: OSError, address: str, port: int, setting: str) -> Exception:
    if error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
        return SettingsError(f"HOST: this machine does not have the address {address}; use for example 0.0.0.0.")
    reason = os.strerror(error.errno or 0).lower()
    return PortTakenError(
        f"{setting}: the server cannot listen on port {port} of {address} ({reason}); set another port."
    )
