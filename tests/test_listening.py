"""Listening: both families by default, lists of addresses, any free port, and errors that name the setting."""

import errno
import socket
from dataclasses import replace

import pytest

from service.app import build
from service.environment import SettingsError
from service.process import Port, check_ports_free
from service.server import listening
from service.settings import Settings
from service.sockets import PortTakenError, listening_sockets
from testkit.http_client import request


def _accepting(port: int, addresses: tuple[str, ...]) -> list[str]:
    accepting = []
    for address in addresses:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
            if client.connect_ex((address, port)) == 0:
                accepting.append(address)
    return accepting


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (("::",), ["127.0.0.1", "127.0.0.2", "::1"]),
        (("0.0.0.0", "::"), ["127.0.0.1", "127.0.0.2", "::1"]),  # noqa: S104 -- a value
        (("0.0.0.0",), ["127.0.0.1", "127.0.0.2"]),  # noqa: S104 -- a value
        (("127.0.0.2", "::1"), ["127.0.0.2", "::1"]),
        (("::1",), ["::1"]),
    ],
)
def test_each_address_of_the_list_accepts_connections(hosts: tuple[str, ...], expected: list[str]) -> None:
    """Port 0 is the same free port for all of them."""
    with listening_sockets(hosts, 0, "PORT") as sockets:
        assert _accepting(sockets[0].getsockname()[1], ("127.0.0.1", "127.0.0.2", "::1")) == expected


@pytest.mark.parametrize("hosts", [("::",), ("127.0.0.1", "::1")])
def test_ipv4_alone_is_used_if_the_kernel_has_no_ipv6(
    hosts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses to create a socket of the family."""

    class _WithoutIPv6(socket.socket):
        def __init__(self, family: int = -1, *arguments: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments)

    monkeypatch.setattr(socket, "socket", _WithoutIPv6)
    with listening_sockets(hosts, 0, "PORT") as sockets:
        assert _accepting(sockets[0].getsockname()[1], ("127.0.0.1",)) == ["127.0.0.1"]
    with pytest.raises(SettingsError, match=r"^HOST: this machine does not have the address ::1"):
        listening_sockets(("::1",), 0, "PORT").__enter__()


@pytest.mark.parametrize(
    ("host", "error"),
    [
        (
            "no-such-host.invalid",
            "^HOST: 'no-such-host.invalid' cannot be resolved .*; use an address such as 0.0.0.0",
        ),
        ("192.0.2.1", r"^HOST: this machine does not have the address 192.0.2.1; use for example 0.0.0.0"),
    ],
)
def test_an_address_of_another_machine_is_an_error_of_host(host: str, error: str) -> None:
    """Not of PORT, as if the port were taken."""
    with pytest.raises(SettingsError, match=error):
        listening_sockets((host,), 0, "PORT").__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_is_in_use_for_one_family_is_reported(address: str) -> None:
    """The error names the setting of the port and the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as taken:
        ports = (Port("PORT", 0), Port("OPS_PORT", taken.getsockname()[1]))
        with pytest.raises(
            PortTakenError, match=rf"^OPS_PORT: .* of {address} \(address already in use\); set another port"
        ):
            check_ports_free(("127.0.0.1", "::1"), ports)


async def test_the_service_answers_on_free_ports_that_it_reports(settings: Settings) -> None:
    """PORT=0: the log and the links have the port."""
    service = build(replace(settings, host=("::",), port=0, ops_port=0, public_url=""))
    async with listening(service) as server:
        port, ops_port = server.ports["PORT"], server.ports["OPS_PORT"]
        assert server.state.links_base == f"http://127.0.0.1:{port}"
        assert (await request(ops_port, "GET", "/livez")).status == 200
        assert _accepting(port, ("127.0.0.1", "::1")) == ["127.0.0.1", "::1"]
