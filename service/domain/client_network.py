"""The network that stands for a client in limits per client."""

import ipaddress
from typing import Final

_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that identify a client's network: a client chooses the other bits itself."""


def client_network(address: str) -> str:
    """Return the IPv4 address, or the IPv6 network, of a client at ``address``."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
