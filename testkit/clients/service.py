"""The service that `make run` starts, with an ingest service, for clients."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from projectkeys_servers.servers import embedded_servers
from testkit.clients.api import Api
from testkit.clients.client import Service
from testkit.clients.execution import report, run_program
from testkit.clients.ingest import Ingest, ingest_service
from testkit.dev_service import dev_service
from testkit.processes import ROOT

PROJECT: Final = "web"
_SETTINGS: Final = {"INGEST_URL": "http://example.com", "ORG_SUBDOMAINS": "1"}
"""The hosts of DSNs are o<organization id>.ingest.example.com, which the clients reach through the ingest service."""

_SCOPES: Final = ("project:admin", "org:read")
"""The scopes that the clients' documentation demands, as far as they concern projects and keys."""


class Installation:
    """The running service, which gives each client an organization of its own.

    Args:
        variables: The variables of its environment file.
        ingest: The ingest service.
        directory: A temporary directory.
    """

    def __init__(self, variables: Mapping[str, str], ingest: Ingest, directory: Path) -> None:
        proxy = {"http_proxy": ingest.url, "no_proxy": "127.0.0.1", "PROXY_PORT": str(ingest.port)}
        self._variables = {**variables, **proxy, "INGEST_URL": ingest.url}
        self._ingest = ingest
        self._directory = directory

    async def service_for(self, name: str) -> Service:
        """Return the service with a new organization, its project, and a token of the organization.

        Raises:
            ClientError: The API or a command responded with an error.
        """
        admin_token = self._variables["TOKEN"]
        api = Api(self._variables["API_URL"], admin_token)
        await api.send("POST", "organizations/", {"name": name, "slug": name})
        await api.send("POST", f"organizations/{name}/projects/", {"name": "Web", "slug": PROJECT})
        scopes = " ".join(f"--scope {scope}" for scope in _SCOPES)
        command = f"{sys.executable} -m service token create {name} --org {name} {scopes}"
        [token] = await run_program(command, self._directory, {"PYTHONPATH": str(ROOT), **self._variables})
        variables = {**os.environ, **self._variables, "TOKEN": token, "ORG": name, "PROJECT": PROJECT}
        return Service(variables, admin_token, self._ingest)


@asynccontextmanager
async def installation() -> AsyncIterator[Installation]:
    """Run the service with empty servers, an edge and an ingest service, on free ports, during the block."""
    with tempfile.TemporaryDirectory(prefix="projectkeys-clients-") as name:
        directory = Path(name)
        async with (
            embedded_servers(directory / "servers", cache_dir=ROOT / ".cache", report=report) as servers,
            dev_service(
                directory,
                database_url=servers.postgres.url,
                bootstrap_servers=servers.kafka.bootstrap_servers,
                settings=_SETTINGS,
            ) as variables,
            ingest_service(variables["EDGE_URL"]) as ingest,
        ):
            yield Installation(variables, ingest, directory)
