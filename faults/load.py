"""Clients that create, update and delete keys and record every outcome. The same seed makes the same requests."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from faults.errors import NotRecoveredError
from faults.history import Action, Call, Outcome, Tenant
from testkit.http_client import HttpConnection, NoResponseError, NotSentError, Response
from testkit.polling import poll_until

_CREATES: Final = 0.45
_UPDATES: Final = 0.45
"""Shares of the requests; the others are deletions."""

_WITH_IDEMPOTENCY_KEY: Final = 0.4
"""Share of creations with an idempotency key."""

_REPLAYS: Final = 0.1
"""Share of these that are sent again after a success."""

_SHARED: Final = 0.3
"""Share of keys that other clients change too."""

_RETRY_INTERVAL: Final = 0.2  # seconds
_MAX_RETRIES: Final = 40
_CONFLICT: Final = 409
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """How clients send requests.

    Attributes:
        clients: The number of clients.
        interval: Seconds between two requests of a client.
        reconnect: Whether every other client opens a connection for each request.
        retry_after: Mean seconds that a client waits after a 503.
    """

    clients: int = 6
    interval: float = 0.01
    reconnect: bool = False
    retry_after: float = 0.0


@dataclass(slots=True)
class Load:
    """All requests so far.

    Attributes:
        seed: Part of the name of each key.
        ports: The replicas' ports; a client sends each request to any that is not in ``excluded_ports``.
        acknowledged: The number of successful requests.
        shared: Keys that all clients change.
    """

    seed: str
    ports: Sequence[int]
    tenants: Sequence[Tenant]
    token: str
    profile: LoadProfile = field(default_factory=LoadProfile)
    calls: list[Call] = field(default_factory=list)
    stopping: bool = False
    shared: list[tuple[Tenant, str]] = field(default_factory=list)
    excluded_ports: set[int] = field(default_factory=set)
    acknowledged: int = 0

    def failed_since(self, began: float) -> list[Call]:
        """Return requests begun since then without a response, or with a 5xx."""
        return [call for call in self.calls if call.began >= began and call.outcome is Outcome.UNKNOWN]

    def latency(self, *, since: float = 0.0, until: float = float("inf"), quantile: float = 0.99) -> float:
        """Return a quantile of the seconds that successful requests begun in this time took; 0 without any."""
        seconds = sorted(
            call.ended - call.began
            for call in self.calls
            if call.outcome is Outcome.OK and since <= call.began < until
        )
        return seconds[int(len(seconds) * quantile)] if seconds else 0.0

    def longest_call(self) -> float:
        """Return the seconds of the longest request, whatever its outcome."""
        return max(call.ended - call.began for call in self.calls)

    async def wait_for_acknowledged(self, number: int, *, timeout: float = 30.0) -> float:
        """Wait for ``number`` further successful requests; return the seconds.

        Raises:
            NotRecoveredError: There are fewer after ``timeout`` seconds.
        """
        started_at, wanted = time.monotonic(), self.acknowledged + number
        await poll_until(
            lambda: self.acknowledged >= wanted,
            timeout=timeout,
            interval=0.02,
            error=lambda: NotRecoveredError(
                f"{wanted - self.acknowledged} of {number} expected successes are missing after {timeout:g} s"
            ),
        )
        return time.monotonic() - started_at

    async def call(
        self,
        connections: Iterable[HttpConnection],
        action: Action,
        tenant: Tenant,
        *,
        label: str = "",
        key: str = "",
        idempotency_key: str = "",
    ) -> Call:
        """Send a request and record its outcome.

        Args:
            connections: Where to send it: like a load balancer, to the first that accepts a connection.
            action: What to request.
            tenant: The project.
            label: The key's new name, different from all others.
            key: The public key, unless one is created.
            idempotency_key: The idempotency key, if any.
        """
        began = time.monotonic()
        call = Call(action, tenant, label, began, began, Outcome.UNKNOWN, key=key, idempotency_key=idempotency_key)
        try:
            call = _with_response(call, await _send(connections, call, self.token))
        except NoResponseError as error:
            call = replace(call, reason=str(error))
        call = replace(call, ended=time.monotonic())
        self.calls.append(call)
        self.acknowledged += call.outcome is Outcome.OK
        return call


_METHODS: Final = {Action.CREATE: "POST", Action.UPDATE: "PUT", Action.DELETE: "DELETE"}


async def _send(connections: Iterable[HttpConnection], call: Call, token: str) -> Response:
    path = call.tenant.keys_path + (f"{call.key}/" if call.key else "")
    body = {"name": call.label} if call.label else None
    headers = {"Idempotency-Key": call.idempotency_key} if call.idempotency_key else {}
    reason = "every replica is excluded"
    for connection in connections:
        try:
            return await connection.request(_METHODS[call.action], path, token=token, body=body, headers=headers)
        except NotSentError as error:
            reason = str(error)
    raise NoResponseError(f"no replica accepts a connection: {reason}")


@asynccontextmanager
async def run_load(load: Load) -> AsyncIterator[Load]:
    """Run the clients during the block; all have their last response when it ends."""
    clients = [asyncio.create_task(_Client(load, number).run()) for number in range(load.profile.clients)]
    try:
        yield load
    finally:
        load.stopping = True
        await asyncio.gather(*clients)


class _Client:
    """Sends one request at a time."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._name = f"{load.seed}-{number}"
        self._rng = random.Random(self._name)
        self._connections = {port: HttpConnection(port) for port in load.ports}
        self._own_keys: list[tuple[Tenant, str]] = []
        self._labels = 0
        self._reconnects = load.profile.reconnect and number % 2 == 1

    async def run(self) -> None:
        try:
            while not self._load.stopping:
                await self._step()
                await asyncio.sleep(self._load.profile.interval)
        finally:
            for connection in self._connections.values():
                connection.close()

    async def _step(self) -> None:
        chosen = self._rng.random()
        keys = self._load.shared if self._rng.random() < _SHARED else self._own_keys
        if chosen < _CREATES or not keys:
            await self._create()
            return
        tenant, key = self._rng.choice(keys)
        if chosen < _CREATES + _UPDATES:
            label = self._next_label()
            await self._call(Action.UPDATE, tenant, label=label, key=key)
        else:
            keys.remove((tenant, key))
            await self._call(Action.DELETE, tenant, key=key)

    async def _create(self) -> None:
        tenant, label = self._rng.choice(self._load.tenants), self._next_label()
        idempotency_key = f"once-{label}" if self._rng.random() < _WITH_IDEMPOTENCY_KEY else ""
        replays = bool(idempotency_key) and self._rng.random() < _REPLAYS
        call = await self._create_key(tenant, label, idempotency_key)
        retries = 0
        # 409: the first attempt is still running.
        while (
            idempotency_key
            and (call.outcome is Outcome.UNKNOWN or call.status == _CONFLICT)
            and retries < _MAX_RETRIES
        ):
            await asyncio.sleep(_RETRY_INTERVAL)
            call, retries = await self._create_key(tenant, label, idempotency_key), retries + 1
        if call.outcome is Outcome.OK:
            shared = self._rng.random() < _SHARED
            (self._load.shared if shared else self._own_keys).append((tenant, call.key))
            if replays and not shared:
                await self._create_key(tenant, label, idempotency_key)

    def _next_label(self) -> str:
        self._labels += 1
        return f"{self._name}-{self._labels}"

    async def _create_key(self, tenant: Tenant, label: str, idempotency_key: str) -> Call:
        return await self._call(Action.CREATE, tenant, label=label, idempotency_key=idempotency_key)

    async def _call(
        self, action: Action, tenant: Tenant, *, label: str = "", key: str = "", idempotency_key: str = ""
    ) -> Call:
        connections = [
            connection for port, connection in self._connections.items() if port not in self._load.excluded_ports
        ]
        self._rng.shuffle(connections)
        call = await self._load.call(
            connections, action, tenant, label=label, key=key, idempotency_key=idempotency_key
        )
        if self._reconnects:
            for connection in connections:
                connection.close()
        if call.status == _UNAVAILABLE:
            await asyncio.sleep(self._load.profile.retry_after * self._rng.uniform(0.5, 1.5))
        return call


def _with_response(call: Call, response: Response) -> Call:
    status = response.status
    if status >= 500:  # noqa: PLR2004 -- HTTP status classes
        return replace(call, status=status, reason=f"{status} {response.body[:200]!r}")
    if status >= 400:  # noqa: PLR2004 -- HTTP status classes
        return replace(call, status=status, outcome=Outcome.REFUSED)
    body = response.json()
    return replace(
        call,
        status=status,
        outcome=Outcome.OK,
        key=call.key or body.get("id", ""),
        event_id=response.headers.get("event-id", ""),
        secret=body.get("secret", ""),
    )
