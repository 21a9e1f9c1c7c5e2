"""`make relay`: runs Relay with the edge as its upstream and checks what its clients see.

RELAY_BINARY names Relay's program, which no package registry has. Without it nothing is checked: the exit code is 2.
"""

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import yaml
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from projectkeys_servers.ports import free_port
from projectkeys_servers.servers import embedded_servers
from testkit.dev_service import dev_service
from testkit.documentation import code_blocks
from testkit.http_client import NoResponseError, NotSentError, request
from testkit.polling import poll_until
from testkit.processes import ROOT, running
from testkit.relay_upstream import RelayUpstream
from testkit.replica import Replica

NEW_KEYS: Final = 50
DELIVERY_BOUND: Final = 1.0
"""Seconds from the response to a create until an event of the key is delivered."""

REFUSAL_BOUND: Final = 30.0
"""Seconds, longer than `project_expiry` of the documented configuration."""

UNKNOWN_SECONDS: Final = 10.0
UNKNOWN_QUESTIONS: Final = 44
_INTERVAL: Final = 0.1
_OK, _FORBIDDEN = 200, 403


class RelayError(Exception):
    """Relay, or the edge, does not behave as documented; the message says how."""


def configuration() -> dict[str, Any]:
    """Return the configuration of Relay in docs/relay.md."""
    blocks = code_blocks(ROOT / "docs" / "relay.md")
    [text] = [block.text for block in blocks if (block.section, block.language) == ("Settings of Relay", "yaml")]
    return dict(yaml.safe_load(text))


@dataclass(frozen=True, slots=True)
class Site:
    """A running service: its port and topic, a token, and the path of a project's keys."""

    port: int
    topic: str
    token: str
    path: str


class Trial:
    """The steps of the check. Each returns what was measured, or raises `RelayError`.

    Args:
        upstream: What Relay reaches.
        port: The port of Relay.
        site: Where keys are created.
    """

    def __init__(self, upstream: RelayUpstream, port: int, site: Site) -> None:
        self._upstream = upstream
        self._port = port
        self._site = site

    async def _change(self, method: str, name: str = "", body: object = None) -> Any:
        path = self._site.path + name
        response = await request(self._site.port, method, path, token=self._site.token, body=body)
        if response.status not in {200, 201, 204}:
            raise RelayError(f"{method} {path}: {response.status} {response.body!r}")
        return response.json()

    async def send(self, key: Mapping[str, Any]) -> int:
        """Send an event as SDKs do; return the status."""
        event = f'{{"event_id":"{uuid4().hex}"}}\n{{"type":"event"}}\n{{"message":"hello"}}\n'
        headers = {"X-Sentry-Auth": f"Sentry sentry_key={key['public']}, sentry_version=7, sentry_client=trial/1"}
        url = f"http://127.0.0.1:{self._port}/api/{key['projectId']}/envelope/"
        async with ClientSession() as client, client.post(url, data=event, headers=headers) as response:
            return response.status

    async def deliver(self) -> tuple[Mapping[str, Any], float]:
        """Create a key and send an event; return the key, and the seconds from its 201 to the event's delivery."""
        key = await self._change("POST", body={"name": "Trial"})
        created, first = time.monotonic(), self._upstream.first
        if (status := await self.send(key)) != _OK:
            raise RelayError(f"the first event of a new key gets {status}")
        await _wait(lambda: key["public"] in first, lambda: "the event of a new key is not delivered")
        return key, first[key["public"]] - created

    async def new_keys(self) -> str:
        """Events of new keys are delivered in time."""
        slowest = max([(await self.deliver())[1] for _ in range(NEW_KEYS)])
        if slowest > DELIVERY_BOUND:
            raise RelayError(f"the event of a new key was delivered {slowest:.2f} s after the 201")
        return f"{NEW_KEYS} new keys: the first event is delivered at most {slowest * 1000:.0f} ms after the 201"

    async def refusals(self) -> str:
        """Disabled, deleted and expired keys are refused."""
        keys = [(await self.deliver())[0] for _ in range(3)]
        disabled, deleted, expired = (f"{key['public']}/" for key in keys)
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        await self._change("PUT", disabled, {"isActive": False})
        await self._change("DELETE", deleted)
        await self._change("PUT", expired, {"expiresAt": soon})
        began = time.monotonic()

        async def are_refused() -> bool:
            return {await self.send(key) for key in keys} == {_FORBIDDEN}

        await _wait(are_refused, lambda: "events of disabled, deleted or expired keys are accepted")
        return f"a disabled, a deleted and an expired key: refused after {time.monotonic() - began:.1f} s"

    async def unknown_key(self) -> str:
        """A key that does not exist costs few questions, and its events are not delivered."""
        public_key, end = uuid4().hex, time.monotonic() + UNKNOWN_SECONDS
        while time.monotonic() < end:
            await self.send({"public": public_key, "projectId": 1})
            await asyncio.sleep(_INTERVAL)
        asked, received = self._upstream.asked[public_key], self._upstream.received[public_key]
        if received or not 0 < asked <= UNKNOWN_QUESTIONS:
            raise RelayError(f"an unknown key: {asked} questions, {received} events delivered")
        return f"an unknown key: {asked} questions in {UNKNOWN_SECONDS:.0f} s"

    async def restart(self) -> str:
        """A new key is accepted after the edge was killed and started again."""
        edge = self._upstream.edge
        edge.kill()
        edge.start()
        await edge.wait_until_ready()
        _, seconds = await self.deliver()
        return f"the edge is killed and started: the first event of a new key is delivered after {seconds:.2f} s"

    async def continue_without(self, stop_service: Callable[[], Any]) -> str:
        """Events are delivered while the service is stopped."""
        key, number = (await self.deliver())[0], 10
        await stop_service()
        for _ in range(number):
            await self.send(key)
        await _wait(
            lambda: self._upstream.received[key["public"]] > number, lambda: "without the service, events are lost"
        )
        return f"the service is stopped: {number} of {number} events are delivered"


async def _wait(condition: Callable[[], Any], problem: Callable[[], str]) -> None:
    """Wait until the condition is true.

    Raises:
        RelayError: It is still false after `REFUSAL_BOUND` seconds; its text is the ``problem``.
    """
    await poll_until(condition, timeout=REFUSAL_BOUND, interval=_INTERVAL, error=lambda: RelayError(problem()))


async def check(
    command: Sequence[str],
    directory: Path,
    site: Site,
    *,
    bootstrap: str,
    stop_service: Callable[[], Any],
    report: Callable[[str], None],
) -> None:
    """Run every step with ``command`` as Relay, which has its files in ``directory``.

    Raises:
        RelayError: A step failed.
    """
    port, upstream_port = free_port(), free_port()
    edge = _write_files(directory, site, bootstrap, port=port, upstream_port=upstream_port)
    upstream, program = RelayUpstream(edge), [*command, "run", "--config", str(directory)]
    edge.start()
    try:
        await edge.wait_until_ready()
        async with (
            upstream.serving(upstream_port),
            running(program, environment={}, output=directory / "relay.log") as relay,
        ):
            await _wait(lambda: _is_ready(port), lambda: f"Relay is not ready: {relay.output[-2000:]}")
            trial = Trial(upstream, port, site)
            for step in (trial.new_keys, trial.refusals, trial.unknown_key, trial.restart):
                report(await step())
            report(await trial.continue_without(stop_service))
    finally:
        edge.kill()


def _write_files(directory: Path, site: Site, bootstrap: str, *, port: int, upstream_port: int) -> Replica:
    """Write the files of Relay and of the edge; return the edge, which is not started."""
    settings, credentials, relays = configuration(), _credentials(), directory / "relays.json"
    settings["relay"] |= {"upstream": f"http://127.0.0.1:{upstream_port}", "host": "127.0.0.1", "port": port}
    settings["http"]["encoding"] = "gzip"  # which the ingest service of this check can decode
    (directory / "config.yml").write_text(json.dumps(settings))
    (directory / "credentials.json").write_text(json.dumps(credentials))
    relays.write_text(json.dumps({credentials["id"]: {"public_key": credentials["public_key"], "internal": True}}))
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_TOPIC": site.topic,
        "RELAY_PUBLIC_KEYS_FILE": str(relays),
        "RELAY_SECRET": uuid4().hex,
    }
    edge = Replica(environment, directory=directory, command=("edge",))
    edge.environment["EDGE_PORT"] = str(edge.port)
    return edge


async def _is_ready(port: int) -> bool:
    try:
        return (await request(port, "GET", "/api/relay/healthcheck/ready/")).status == _OK
    except (NotSentError, NoResponseError):
        return False


def _credentials() -> dict[str, str]:
    """Return what `relay credentials generate` writes."""
    secret = Ed25519PrivateKey.generate()
    halves = {"secret_key": secret.private_bytes_raw(), "public_key": secret.public_key().public_bytes_raw()}
    texts = {name: base64.urlsafe_b64encode(raw).decode().rstrip("=") for name, raw in halves.items()}
    return {**texts, "id": str(uuid4())}


async def _check_binary(binary: str) -> None:
    with tempfile.TemporaryDirectory(prefix="projectkeys-relay-") as name:
        directory = Path(name)
        async with (
            embedded_servers(directory / "servers", cache_dir=ROOT / ".cache", report=_report) as servers,
            AsyncExitStack() as service,
        ):
            bootstrap = servers.kafka.bootstrap_servers
            variables = await service.enter_async_context(
                dev_service(directory, database_url=servers.postgres.url, bootstrap_servers=bootstrap)
            )
            path = f"/api/0/projects/{variables['ORG']}/{variables['PROJECT']}/keys/"
            port = int(variables["API_URL"].rpartition(":")[2])
            site = Site(port, variables.get("KAFKA_TOPIC", "project-keys"), variables["TOKEN"], path)
            await check([binary], directory, site, bootstrap=bootstrap, stop_service=service.aclose, report=_report)


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a program's output


def main() -> int:
    """Check the program of RELAY_BINARY; return the exit code."""
    binary = os.environ.get("RELAY_BINARY", "")
    if not binary:
        _report("relay: NOT CHECKED: no Relay was run. Set RELAY_BINARY to the path of Relay's program.")
        return 2
    try:
        asyncio.run(_check_binary(str(Path(binary).absolute())))
    except RelayError as error:
        _report(f"relay: FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
