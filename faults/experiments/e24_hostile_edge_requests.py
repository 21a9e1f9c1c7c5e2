"""E24: hostile requests to every endpoint of the edge, beside the load."""

import asyncio
import base64
import json
import random
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.shared_servers import SharedServers
from testkit.hostile_requests import HostileRequest, hostile_requests
from testkit.http_client import HttpConnection, NoResponseError

_REQUESTS: Final = 10_000
_PARALLEL: Final = 8
_RESPONSE_BOUND: Final = 2.0
"""Seconds, of which a request with unknown keys waits one."""

_TOKEN: Final = "a-token-of-the-edge"  # noqa: S105 -- of a temporary server
_SERVER_ERROR: Final = 500


class _Relay:
    """A relay that signs its requests."""

    def __init__(self) -> None:
        self.id = str(uuid4())
        self._key = Ed25519PrivateKey.generate()

    @property
    def file(self) -> str:
        """The content of the file of relays."""
        public_key = _encode(self._key.public_key().public_bytes_raw())
        return json.dumps({self.id: {"public_key": public_key, "internal": True}})

    def headers(self, body: bytes) -> Mapping[str, str]:
        """Return the headers of a request with this body."""
        header = json.dumps({"t": datetime.now(UTC).isoformat()}).encode()
        signature = self._key.sign(header + b"\0" + body)
        return {
            "X-Sentry-Relay-Id": self.id,
            "X-Sentry-Relay-Signature": f"{_encode(signature)}.{_encode(header)}",
        }


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Every request gets a response other than 5xx; the load is not affected."""
    relay, number = _Relay(), 400 if plan.short else plan.rounds * _REQUESTS
    async with new_experiment(servers, plan) as experiment:
        file = experiment.deployment.directory / "relays.json"
        file.write_text(relay.file)
        edge = experiment.deployment.add_edge(
            RELAY_PUBLIC_KEYS_FILE=str(file),
            RELAY_SECRET="a secret of all replicas",  # noqa: S106 -- of temporary servers
            EDGE_TOKEN=_TOKEN,
            OUTCOMES_TOPIC=experiment.deployment.topic + "-outcomes",
        )
        edge.start()
        await edge.wait_until_ready()
        source = random.Random(plan.seed)
        requests = islice(hostile_requests(source, relay.id, relay.headers, _TOKEN), number)
        async with experiment.under_load():
            responses = [_send_all(edge.port, requests) for _ in range(_PARALLEL)]
            found = [response for part in await asyncio.gather(*responses) for response in part]
        _judge(experiment, found)
        return await experiment.check(duplicates=0)


def _judge(experiment: Experiment, found: list[tuple[int, float, HostileRequest]]) -> None:
    statuses = sorted({status for status, _, _ in found})
    slowest = max(seconds for _, seconds, _ in found)
    bad = [(status, request) for status, _, request in found if status >= _SERVER_ERROR or status == 0]
    experiment.metrics["statuses"] = ", ".join(map(str, statuses))
    experiment.metrics["slowest"] = f"{slowest * 1000:.0f} ms"
    experiment.expect(not bad, f"{len(bad)} hostile requests failed (0: no response): {str(bad[:2])[:1000]}")
    experiment.expect_within(slowest, _RESPONSE_BOUND, "a response to a hostile request")
    experiment.expect_no_failures()


async def _send_all(port: int, requests: Iterator[HostileRequest]) -> list[tuple[int, float, HostileRequest]]:
    """Send requests in turn; return the status of each, 0 without a response, and the seconds."""
    found, connection = [], HttpConnection(port)
    for request in requests:
        began = time.monotonic()
        try:
            sent = connection.request("POST", request.path, body=request.body, headers=request.headers)
            status = (await sent).status
        except NoResponseError:
            status = 0
        found.append((status, time.monotonic() - began, request))
    connection.close()
    return found
