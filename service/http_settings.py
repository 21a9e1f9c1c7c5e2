"""The settings of the HTTP server."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import urlsplit

from marshmallow.validate import Range

from service.environment import SettingsGroup, setting
from service.setting_checks import SECONDS, TIMEOUT, base_url, listen_addresses

_EVERY_ADDRESS: Final = frozenset({"::", "0.0.0.0"})  # noqa: S104 -- is compared with
_PORT: Final = Range(min=0, max=65535)  # 0: any free port


@dataclass(frozen=True, kw_only=True)
class HttpSettings(SettingsGroup):
    """The HTTP server."""

    port: int = setting(8080, "Port of the API; 0: any free port, which the log contains.", check=_PORT)
    ops_port: int = setting(
        8081, "Port of /livez, /readyz and /metrics; 0: any free port, which the log contains.", check=_PORT
    )
    host: tuple[str, ...] = setting(
        ("::",),
        "Addresses that both ports listen on, separated by commas. ::, every address, includes those of IPv4; "
        "0.0.0.0 is every address of IPv4. `projectkeys dev` listens on 127.0.0.1 and ::1 unless HOST is set.",
        check=listen_addresses,
    )
    public_url: str = setting(
        "",
        "Base URL of the API in the links that it returns, with the path prefix that a proxy removes; if empty, "
        "http://127.0.0.1:PORT.",
        check=base_url,
    )
    console: bool = setting(
        default=True,
        description="Whether `projectkeys serve` serves the console at /console/ and accepts its sessions.",
    )
    shutdown_delay: float = setting(
        3.0,
        "Time after SIGTERM in which the API still accepts requests (s), so that load balancers can remove the "
        "replica.",
        check=SECONDS,
    )
    shutdown_timeout: float = setting(
        22.0,
        "Time after SHUTDOWN_DELAY for running requests and for releasing shards (s); then the process is killed. "
        "With SHUTDOWN_DELAY it must be shorter than Kubernetes's terminationGracePeriodSeconds (30).",
        check=Range(min=12, max=3600),
    )
    request_timeout: float = setting(10.0, "Timeout for processing a request (s).", check=TIMEOUT)
    body_timeout: float = setting(
        5.0,
        "Timeout for receiving the request body (s); limits slow-client attacks.",
        check=TIMEOUT,
    )
    body_limit: int = setting(
        65536,
        "Maximum size of a request body (bytes); the body of a key has less than 1000.",
        check=Range(min=1024, max=2**24),
    )
    header_limit: int = setting(
        8190,
        "Maximum size of a request header and of the URL (bytes); larger ones get 431 or 414. All headers together "
        "may have four times as much.",
        check=Range(min=1024, max=2**16),
    )
    arriving_limit: int = setting(
        2**24,
        "Maximum size of all request bodies that are being received (bytes); each counts as at least 16384. Further "
        "requests get 503. The bodies of one token can use a quarter.",
        check=Range(min=65536, max=2**32),
    )
    send_timeout: float = setting(
        15.0,
        "Timeout for sending a response (s), after which the connection is aborted; the largest page of keys has "
        "1.7 MB and a list of all projects up to 3 MB, which take 14 s and 24 s at 1 Mbit/s.",
        check=TIMEOUT,
    )
    unsent_limit: int = setting(
        2**25,
        "Maximum size of all responses that are being sent (bytes), a third of what the memory limit of the "
        "deployment leaves free with 10 000 connections; above it the slowest connection is aborted.",
        check=Range(min=2**20, max=2**32),
    )
    keepalive_timeout: float = setting(
        75.0,
        "Timeout for a connection that is idle between two requests (s); must be longer than the proxy's "
        "keep-alive timeout.",
        check=TIMEOUT,
    )
    header_timeout: float = setting(
        10.0, "Timeout for receiving the first request head on a new connection (s).", check=TIMEOUT
    )
    max_new_connections: int = setting(
        1000,
        "Maximum number of connections of one address on which no request head was received yet; further ones are "
        "closed. 0 disables. Connections of a proxy, which have one address, count until their first request.",
        check=Range(min=0, max=1_000_000),
    )
    max_requests: int = setting(
        1000,
        "Maximum number of concurrent requests, about a quarter of a second's work; further requests get 503.",
        check=Range(min=1, max=100_000),
    )
    max_connections: int = setting(
        16_000,
        "Maximum number of client connections, reduced to fit the process's limit of open files; further "
        "connections are closed.",
        check=Range(min=10, max=1_000_000),
    )

    @property
    def links_base(self) -> str:
        """The base URL of the API's own links, without a trailing slash."""
        return self.public_url.rstrip("/") or self.local_url(self.port)

    @property
    def console_origin(self) -> str | None:
        """The origin of pages below PUBLIC_URL, as browsers write it; "" without PUBLIC_URL, None without console."""
        url = urlsplit(self.public_url.lower())
        default_port = {"http": ":80", "https": ":443"}.get(url.scheme, "")
        origin = f"{url.scheme}://{url.netloc.removesuffix(default_port)}" if url.netloc else ""
        return origin if self.console else None

    def local_url(self, port: int) -> str:
        """Return the URL of a port on this machine: with the first address of HOST, or 127.0.0.1 if it is all."""
        address = "127.0.0.1" if self.host[0] in _EVERY_ADDRESS else self.host[0]
        return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"

    def with_ports(self, ports: Mapping[str, int]) -> Self:
        """Return these settings with the numbers of the open ports by the names of their settings."""
        numbers: dict[str, Any] = {name.lower(): number for name, number in ports.items()}
        return replace(self, **numbers)

    def mistakes(self) -> dict[str, str]:
        """Return the values that contradict each other: an error for each name."""
        found = super().mistakes()
        if self.port == self.ops_port != 0:
            found["OPS_PORT"] = f"Must differ from PORT, which is {self.port} too."
        return found
