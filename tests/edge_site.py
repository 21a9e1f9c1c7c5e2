"""An edge on free ports with its own topic, and a relay that signs its requests."""

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import generate_latest
from sentry_relay.auth import SecretKey, generate_key_pair

from projectkeys_consumer import ProjectKeys
from projectkeys_servers.ports import free_port
from service.edge.process import Edge, build_edge, edge_running
from service.edge.signatures import decode_base64
from service.settings import EdgeProcessSettings
from testkit.polling import poll_until
from tests.kafka_harness import new_topic
from tests.topic_writer import TopicWriter, topic_writer

RELAYS = "/api/0/relays/"
REJECTED = "event submission rejected with_reason: ProjectId"
"""What a relay answers to an event with a key that it does not accept; clients compare this text."""

SECRET = "a secret of all replicas"  # noqa: S105 -- of temporary servers


class SigningRelay:
    """A relay: an id, a key pair, and signed requests."""

    def __init__(self) -> None:
        self.id = str(uuid4())
        self._secret: SecretKey
        self._secret, public_key = generate_key_pair()
        self.public_key = str(public_key)

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the file of relays."""
        return {self.id: {"public_key": self.public_key, "internal": True}}

    def headers(self, raw: bytes) -> dict[str, str]:
        """Return the headers of a request with this body."""
        return {"X-Sentry-Relay-Id": self.id, "X-Sentry-Relay-Signature": self._secret.sign(raw)}

    def signature(self, raw: bytes, at: datetime) -> str:
        """Return a signature of another time than now."""
        key = Ed25519PrivateKey.from_private_bytes(decode_base64(str(self._secret))[:32])
        header = json.dumps({"t": at.isoformat()}).encode()
        parts = (key.sign(header + b"\0" + raw), header)
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

    async def post(
        self, edge: "EdgeSite", path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a signed request; return the status and the decoded body of the response."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await edge.send("POST", RELAYS + path, raw, {**self.headers(raw), **(headers or {})})

    async def register(self, edge: "EdgeSite", second: "EdgeSite | None" = None) -> int:
        """Register as Relay does, the second request with ``second`` if given; return the last status."""
        body = {"relay_id": self.id, "public_key": self.public_key, "version": "26.2.1"}
        status, challenge = await self.post(edge, "register/challenge/", body)
        if status != 200:
            return status
        assert challenge["relay_id"] == self.id
        body = {"relay_id": self.id, "token": challenge["token"], "version": "26.2.1"}
        status, _ = await self.post(second or edge, "register/response/", body)
        return status

    async def configs(self, edge: "EdgeSite", keys: Iterable[str], **members: Any) -> dict[str, Any]:
        """Request the configurations of keys."""
        body = {"publicKeys": list(keys), **members}
        status, answer = await self.post(edge, "projectconfigs/?version=3", body)
        assert status == 200, answer
        return dict(answer)


@dataclass(frozen=True, slots=True)
class EdgeSite:
    """A running edge, a client, and a writer to its topic."""

    edge: Edge
    client: ClientSession
    topic_writer: TopicWriter | None

    @property
    def writer(self) -> TopicWriter:
        """The writer; absent without Kafka."""
        assert self.topic_writer is not None
        return self.topic_writer

    @property
    def url(self) -> str:
        """The base URL of the edge."""
        return f"http://127.0.0.1:{self.edge.settings.edge_port}"

    @property
    def ops_url(self) -> str:
        """The base URL of its operations port."""
        return f"http://127.0.0.1:{self.edge.settings.ops_port}"

    @property
    def keys(self) -> ProjectKeys:
        """The copy of the topic."""
        return self.edge.keys

    @property
    def metrics(self) -> str:
        """The metrics."""
        return generate_latest(self.edge.registry).decode()

    async def send(
        self, method: str, path: str, raw: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request; return the status and the decoded body of the response, None if it has none."""
        async with self.client.request(
            method, self.url + path, data=BytesIO(raw), headers=headers, skip_auto_headers=["Content-Type"]
        ) as response:
            content = await response.read()
            return response.status, json.loads(content) if content else None

    async def write(self, key: str, version: int = 1, *types: Any, **changes: Any) -> None:
        """Write a version of a key to the topic, and wait until the edge has read it."""
        await self.writer.write(key, version, *types, **changes)
        await poll_until(lambda: self.keys.version(key) >= version, timeout=10)


def edge_settings(bootstrap: str, topic: str, **changes: Any) -> EdgeProcessSettings:
    """Return settings with free ports."""
    settings = EdgeProcessSettings(
        kafka_bootstrap_servers=(bootstrap,),
        kafka_topic=topic,
        kafka_request_timeout=2.0,
        host=("127.0.0.1",),
        edge_port=free_port(),
        ops_port=free_port(),
        shutdown_delay=0.0,
    )
    return replace(settings, **changes)


@asynccontextmanager
async def open_edge(
    bootstrap: str,
    topic: str = "",
    *,
    relays: Iterable[SigningRelay] = (),
    directory: Path | None = None,
    open_relays: Path | None = None,
    **changes: Any,
) -> AsyncIterator[EdgeSite]:
    """Run an edge that knows ``relays``, listed in a file of ``directory``, on a topic of its own unless named."""
    topic = topic or await new_topic(bootstrap)
    if directory is not None:
        file = directory / "relays.json"
        file.write_text(json.dumps({key: value for relay in relays for key, value in relay.entry.items()}))
        changes = {"relay_public_keys_file": str(file), "relay_secret": SECRET, **changes}
    edge = build_edge(edge_settings(bootstrap, topic, **changes), open_relays=open_relays)
    async with (
        topic_writer(bootstrap, topic) as writer,
        ClientSession() as client,
        edge_running(edge),
    ):
        await edge.keys.ready(30)
        yield EdgeSite(edge, client, writer)


@asynccontextmanager
async def open_edge_without_kafka(**changes: Any) -> AsyncIterator[EdgeSite]:
    """Run an edge whose Kafka is unreachable."""
    edge = build_edge(edge_settings(f"127.0.0.1:{free_port()}", "project-keys", **changes))
    async with ClientSession() as client, edge_running(edge):
        yield EdgeSite(edge, client, None)
