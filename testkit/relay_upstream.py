"""What Relay reaches in `make relay`: the edge for configurations, and an ingest service that counts events."""

import json
import re
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Final

from aiohttp import ClientError, ClientSession, web

from testkit.replica import Replica
from testkit.web_server import serving

_HEADERS: Final = ("X-Sentry-Relay-Id", "X-Sentry-Relay-Signature", "Content-Type")
_KEY: Final = re.compile(r"sentry_key=([0-9a-f]{32})")


class RelayUpstream:
    """A server that divides requests by path, as a proxy does in front of edge and ingest service.

    Attributes:
        edge: The replica of the edge.
        asked: How often Relay asked for each key.
        received: The number of events of each key.
        first: The time of the first event of each key, in seconds of the monotonic clock.
    """

    def __init__(self, edge: Replica) -> None:
        self.edge = edge
        self.asked: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.first: dict[str, float] = {}

    def serving(self, port: int) -> AbstractAsyncContextManager[None]:
        """Serve during the block."""
        app = web.Application()
        app.router.add_route("*", "/api/0/relays/{path:.*}", self._ask_edge)
        app.router.add_post(r"/api/{project:[1-9][0-9]*}/envelope/", self._receive)
        return serving(app, port)

    async def _ask_edge(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path.endswith("/projectconfigs/"):
            self.asked.update(json.loads(body).get("publicKeys") or [])
        url = f"http://127.0.0.1:{self.edge.port}{request.raw_path}"
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        try:
            async with (
                ClientSession() as client,
                client.request(request.method, url, data=body, headers=headers) as got,
            ):
                return web.Response(body=await got.read(), status=got.status, content_type="application/json")
        except ClientError:
            return web.Response(status=502)

    async def _receive(self, request: web.Request) -> web.Response:
        now, found = time.monotonic(), _KEY.search(request.headers.get("X-Sentry-Auth", ""))
        if found and b'"type":"event"' in await request.read():  # otherwise a report of Relay itself
            self.received[found[1]] += 1
            self.first.setdefault(found[1], now)
        return web.json_response({})
