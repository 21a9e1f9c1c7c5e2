"""Decides for a proxy whether an ingest service may receive a request: the endpoint /auth."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from aiohttp import web

from service.edge.client_keys import ClientKey, ClientKeys
from service.edge.metrics import EdgeMetrics
from service.edge.original_requests import PATH, PREFLIGHT, OriginalRequest, original_request
from service.edge.unknown_keys import UnknownKeys
from service.http.server.response import Response, header_lines

_MAX_WAIT: Final = 0.25
"""Seconds for which a request with an unknown key waits; the client of the proxy waits as long."""

_MAX_WAITING: Final = 200
"""Requests that wait for unknown keys; further ones are refused at once, so that requests with random keys do not
occupy all slots."""

_MAX_WINDOWS: Final = 100_000
"""Keys with a rate limit that are counted, about 20 MB."""

_ALLOWED, _REFUSED, _LIMITED, _UNAVAILABLE = 200, 403, 429, 503
_REJECTED: Final = b'{"detail":"event submission rejected with_reason: ProjectId","causes":["%b"]}'
"""The text of a relay, by which the OpenTelemetry collector's exporter knows that it must request the keys again."""


class RateWindows:
    """The number of requests of each key with a rate limit, in fixed windows of this process.

    Args:
        clock: Returns seconds since 1970.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def count(self, key: ClientKey) -> int:
        """Count a request; return 0, or the seconds until the next window if the limit was reached before."""
        if key.limit is None or key.window < 1:
            return 0
        now = self._clock()
        window = int(now // key.window)
        counted, requests = self._counts.pop(key.public_key, (window, 0))
        if counted != window:
            requests = 0
        self._counts[key.public_key] = (window, min(requests + 1, key.limit + 1))
        if len(self._counts) > _MAX_WINDOWS:
            self._counts.popitem(last=False)
        return 0 if requests < key.limit else max(1, int((window + 1) * key.window - now))


class Authorization:
    """The decisions.

    Args:
        keys: The known keys.
        unknown: Waits for unknown keys.
        windows: Counts the requests of keys with a rate limit.
        metrics: Counts the decisions; allowed requests are not logged.
        fails_open: Whether requests are allowed while the keys are not loaded.
    """

    def __init__(
        self,
        keys: ClientKeys,
        unknown: UnknownKeys,
        windows: RateWindows,
        metrics: EdgeMetrics,
        *,
        fails_open: bool,
    ) -> None:
        self._keys = keys
        self._unknown = unknown
        self._windows = windows
        self._metrics = metrics
        self._fails_open = fails_open
        self._waiting = 0
        self._allowed = metrics.decisions.labels("allowed", "active")

    async def respond(self, request: web.Request) -> Response:
        """Return the decision as a response.

        With ``?status=403`` every refusal has the status 403, and the header X-Auth-Status the actual one: nginx
        turns other statuses into 500.
        """
        original = original_request(request)
        key = self._keys.find(original.public_key)
        if key is None and not original.reason and await self._wait(original.public_key):
            key = self._keys.find(original.public_key)
        status, reason, lines = self.decide(original, key)
        if status == _ALLOWED:
            return Response(lines)
        body = (_REJECTED if status == _REFUSED else b'{"detail":"%b"}') % reason.encode()
        if request.raw_path == f"{PATH}?status=403":
            status = _REFUSED
        return Response(lines, body, status=status)

    async def _wait(self, public_key: str) -> bool:
        """Wait for the event of a key, unless its deletion is known; return whether it waited."""
        if not self._keys.loaded or self._waiting >= _MAX_WAITING or not self._keys.is_unknown(public_key):
            return False
        self._waiting += 1
        try:
            await self._unknown.wait_for_key(public_key, max_wait=_MAX_WAIT)
        finally:
            self._waiting -= 1
        return True

    def decide(self, original: OriginalRequest, key: ClientKey | None) -> tuple[int, str, str]:
        """Return the status, the reason of a refusal, and the header lines; count the decision.

        Args:
            original: The request to decide about.
            key: The key of the request; None if it is not known.
        """
        if key is None:
            return self._decide_without_key(original)
        if not self._keys.accepts(key):
            return self._refuse(_REFUSED, "expired_key" if key.is_active else "disabled_key")
        if key.project_id != original.project_id:
            return self._refuse(_REFUSED, "other_project")
        if seconds := self._windows.count(key):
            return self._refuse(_LIMITED, "key_quota", seconds)
        self._allowed.inc()
        number = "" if key.key_id is None else f"X-Key-Id: {key.key_id}\r\n"
        lines = f"X-Project-Id: {key.project_id}\r\nX-Organization-Id: {key.organization_id}\r\n{number}"
        return _ALLOWED, "", lines

    def _decide_without_key(self, original: OriginalRequest) -> tuple[int, str, str]:
        if original is PREFLIGHT:
            return self._allow("preflight")
        if self._keys.loaded:
            return self._refuse(_REFUSED, original.reason or "unknown_key")
        return self._allow("not_loaded") if self._fails_open else self._refuse(_UNAVAILABLE, "not_loaded")

    def _allow(self, reason: str) -> tuple[int, str, str]:
        self._metrics.decisions.labels("allowed", reason).inc()
        return _ALLOWED, "", ""

    def _refuse(self, status: int, reason: str, seconds: int = 1) -> tuple[int, str, str]:
        self._metrics.decisions.labels("limited" if status == _LIMITED else "refused", reason).inc()
        headers = {"Content-Type": "application/json", "X-Auth-Status": str(status), "X-Auth-Reason": reason}
        if status != _REFUSED:
            headers["Retry-After"] = str(seconds)
        if status == _LIMITED:  # no categories: the edge counts requests, whatever they contain
            headers["X-Sentry-Rate-Limits"] = f"{seconds}::key:{reason}"
        return status, reason, header_lines(headers)
