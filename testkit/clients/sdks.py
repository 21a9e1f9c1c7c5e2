"""Official SDKs: they accept the DSNs that the service issues, and their events pass the edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import ClientSession

from testkit.clients.api import Api
from testkit.clients.client import PackagedClient, Service
from testkit.clients.execution import ClientError, run_program
from testkit.clients.ingest import Ingest, Received
from testkit.polling import poll_until

_ALLOWED, _REFUSED = 200, 403
_OWN_HOST: Final = "http://relay.example.org:8000/events"
_EDGE_TIMEOUT: Final = 10.0  # seconds for a change of a key


@dataclass(frozen=True, slots=True)
class Sdk(PackagedClient):
    """An SDK: its program sends an event to the DSN in the environment."""

    async def run(self, service: Service, directory: Path) -> Sequence[str]:
        """Send events to both forms of hosts, and with a disabled key."""
        variables = service.variables
        api, organization = Api(variables["API_URL"], service.admin_token), variables["ORG"]
        key_path = f"projects/{organization}/{variables['PROJECT']}/keys/"
        [key] = await api.send("GET", key_path)
        await self._send_event(key, service, directory, expected=_ALLOWED)
        await api.send("PUT", f"organizations/{organization}/", {"ingestUrl": _OWN_HOST})
        key = await api.send("GET", f"{key_path}{key['id']}/")
        await self._send_event(key, service, directory, expected=_ALLOWED)
        key = await api.send("PUT", f"{key_path}{key['id']}/", {"isActive": False})
        await self._send_event(key, service, directory, expected=_REFUSED)
        return [
            "send to a host with the organization's id",
            "send to the organization's own host",
            "refused with a disabled key",
        ]

    async def _send_event(self, key: Mapping[str, Any], service: Service, directory: Path, *, expected: int) -> None:
        """Send an event to the DSN of a key; the ingest service must receive it with the ``expected`` status."""
        await wait_for_edge(service.ingest, key)
        dsn, before = key["dsn"]["public"], len(service.ingest.received)
        await run_program(self.program, directory, {**service.variables, "DSN": dsn})
        wanted, received = expected_request(dsn, expected), service.ingest.received[before:]
        if wanted not in received:
            raise ClientError(f"the ingest service received {received} instead of {wanted}")


async def wait_for_edge(ingest: Ingest, key: Mapping[str, Any]) -> None:
    """Wait until the edge knows the state of a key."""
    async with ClientSession() as session:

        async def is_known() -> bool:
            async with session.get(f"{ingest.edge_url}/keys/{key['id']}") as response:
                return response.ok and (await response.json())["isActive"] == key["isActive"]

        await poll_until(is_known, timeout=_EDGE_TIMEOUT)


def expected_request(dsn: str, status: int) -> Received:
    """Return the request that an SDK with this DSN sends for an event."""
    url = urlsplit(dsn)
    base, _, project = url.path.rpartition("/")
    return Received(url.netloc.rpartition("@")[2], f"{base}/api/{project}/envelope/", status)
