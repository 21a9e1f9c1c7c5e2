"""The edge that `dev` runs beside the service."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from service.edge.process import build_edge, edge_running
from service.process import Port, check_ports_free
from service.settings import EdgeProcessSettings, Settings
from service.sockets import PortTakenError


@asynccontextmanager
async def dev_edge(settings: Settings, data: Path) -> AsyncIterator[Mapping[str, str]]:
    """Run an edge that any relay may use, during the block; yield its URLs and EDGE_PORT by the names of variables.

    Relays that register are stored in ``data``, unless RELAY_PUBLIC_KEYS_FILE is set. The operations port follows
    EDGE_PORT. If EDGE_PORT is not set and one of the two is in use, both are free ports.

    Raises:
        PortTakenError: A port is in use.
    """
    edge = build_edge(
        _with_edge_ports(settings),
        open_relays=None if settings.relay_public_keys_file else data / "relays.json",
    )
    async with edge_running(edge) as server:
        yield {
            "EDGE_PORT": str(server.ports["EDGE_PORT"]),
            "EDGE_URL": settings.local_url(server.ports["EDGE_PORT"]),
            "EDGE_OPS_URL": settings.local_url(server.ports["OPS_PORT"]),
        }


def _with_edge_ports(settings: EdgeProcessSettings) -> EdgeProcessSettings:
    port = settings.edge_port
    ops_port = port + 1 if port else 0
    try:
        check_ports_free(settings.host, [Port("EDGE_PORT", port), Port("EDGE_PORT", ops_port)])
    except PortTakenError:
        if os.environ.get("EDGE_PORT"):
            raise
        port = ops_port = 0
    return replace(settings, edge_port=port, ops_port=ops_port)
