"""A stand-in for Relay where its program is absent: performs the part of its protocol that an upstream sees.

`python -m testkit.relay_stand_in run --config DIRECTORY` reads `config.yml` and `credentials.json` as Relay does. It
proves that `make relay` works, and nothing about Relay.
"""

import argparse
import asyncio
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from aiohttp import ClientError, ClientSession, web
from sentry_relay.auth import SecretKey

from testkit.web_server import serving

_BATCH_INTERVAL: Final = 0.1
_RETRY_INTERVAL: Final = 0.5
_RELAYS: Final = "/api/0/relays/"
_KEY: Final = re.compile(r"sentry_key=([0-9a-f]{32})")


class _Upstream:
    """Signed requests."""

    def __init__(self, url: str, credentials: dict[str, str], client: ClientSession) -> None:
        self._url = url
        self._secret = SecretKey.parse(credentials["secret_key"])
        self._credentials = credentials
        self._client = client

    async def ask(self, path: str, body: Any) -> Any:
        raw = orjson.dumps(body)
        return await self.post(_RELAYS + path, raw, {"X-Sentry-Relay-Signature": self._secret.sign(raw)})

    async def post(self, path: str, raw: bytes, headers: dict[str, str]) -> Any:
        headers["X-Sentry-Relay-Id"] = self._credentials["id"]
        async with self._client.post(self._url + path, data=raw, headers=headers, raise_for_status=True) as response:
            return orjson.loads(await response.read())

    async def register(self) -> None:
        relay = {"relay_id": self._credentials["id"], "version": "26.2.1"}
        challenge = await self.ask("register/challenge/", {**relay, "public_key": self._credentials["public_key"]})
        await self.ask("register/response/", {**relay, "token": challenge["token"]})
        answer = await self.ask("projectconfigs/?version=3", {"global": True, "publicKeys": []})
        if answer["global"] is None:
            raise ClientError("no global configuration")


class _Relay:
    """The cache of configurations, and the events that wait for one."""

    def __init__(self, upstream: _Upstream, expiry: float) -> None:
        self._upstream = upstream
        self._expiry = expiry
        self._configs: dict[str, tuple[float, Any]] = {}
        self._waiting: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.registered = False

    async def register(self) -> None:
        while not self.registered:
            try:
                await self._upstream.register()
                self.registered = True
            except ClientError:
                await asyncio.sleep(_RETRY_INTERVAL)

    async def receive(self, request: web.Request) -> web.Response:
        """Accept an event by the state that is known, even if it is stale; a stale one is asked for again."""
        found = _KEY.search(request.headers["X-Sentry-Auth"])
        assert found, "the request has a key"
        key, project, body = found[1], request.match_info["project"], await request.read()
        fetched_at, config = self._configs.get(key, (None, None))
        if (fetched_at is None or time.monotonic() > fetched_at + self._expiry) and key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._fetch(key))
        if fetched_at is None:
            self._waiting[key].append((project, body))
        elif config is None or str(config["projectId"]) != project:
            return web.json_response({"detail": "event submission rejected with_reason: ProjectId"}, status=403)
        else:
            await self._forward(key, project, body)
        return web.json_response({})

    async def _fetch(self, key: str) -> None:
        while (config := await self._ask(key)) is Ellipsis:
            await asyncio.sleep(_BATCH_INTERVAL)
        self._configs[key] = time.monotonic(), config
        del self._tasks[key]
        for project, body in self._waiting.pop(key, []):
            if config is not None and str(config["projectId"]) == project:
                await self._forward(key, project, body)

    async def _ask(self, key: str) -> Any:
        """Return the configuration of a key; None if it is disabled, Ellipsis if it must be asked for again."""
        await asyncio.sleep(_BATCH_INTERVAL)
        known = self._configs.get(key, (0.0, None))[1]
        body = {"publicKeys": [key], "revisions": [known and known["rev"]], "fullConfig": False, "noCache": False}
        try:
            answer = await self._upstream.ask("projectconfigs/?version=3", body)
        except ClientError:
            return Ellipsis
        if key in answer["pending"]:
            return Ellipsis
        return known if key in answer["unchanged"] else answer["configs"].get(key)

    async def _forward(self, key: str, project: str, body: bytes) -> None:
        auth = f"Sentry sentry_key={key}, sentry_version=7"
        await self._upstream.post(f"/api/{project}/envelope/", body, {"X-Sentry-Auth": auth})

    async def is_ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"is_healthy": self.registered}, status=200 if self.registered else 503)


async def _run(directory: Path) -> None:
    config = yaml.safe_load((directory / "config.yml").read_text())
    credentials = orjson.loads((directory / "credentials.json").read_bytes())
    async with ClientSession() as client:
        upstream = _Upstream(config["relay"]["upstream"], credentials, client)
        relay, app = _Relay(upstream, config["cache"]["project_expiry"]), web.Application()
        app.router.add_post("/api/{project}/envelope/", relay.receive)
        app.router.add_get("/api/relay/healthcheck/ready/", relay.is_ready)
        async with serving(app, config["relay"]["port"]):
            await relay.register()
            await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--config", type=Path, required=True)
    asyncio.run(_run(parser.parse_args().config))
