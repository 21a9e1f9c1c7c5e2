"""Callers that create, change and delete keys, and keep what they were told. The same seed asks for the same."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from faults.history import Action, Call, Outcome, Tenant
from faults.http import Line, NoAnswerError, NobodyThereError, Response

_CREATES: Final = 0.45
_UPDATES: Final = 0.45
"""Shares of what is asked for; the rest are deletions."""

_WITH_KEY: Final = 0.4
"""Share of creations that carry an idempotency key."""

_REPLAYS: Final = 0.1
"""Share of these that are sent once more though they were answered."""

_SHARED: Final = 0.3
"""Share of keys that other callers work on too."""

_AGAIN_AFTER: Final = 0.2  # seconds
_MOST_TRIES: Final = 40
_COME_AGAIN: Final = 503


class NotHealedError(Exception):
    """The service does not come back: a verdict on it; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How callers go about it.

    Attributes:
        callers: Their number.
        pace: Seconds between two calls of one.
        fresh: Whether every other caller makes a connection for each call.
        pause: Seconds, about, for which one waits that was told to come again.
    """

    callers: int = 6
    pace: float = 0.01
    fresh: bool = False
    pause: float = 0.0


@dataclass(slots=True)
class Load:
    """All calls so far.

    ``ports`` are where the replicas are asked, of whom a caller takes any that is not ``avoided``;
    ``acknowledged`` counts the good answers.
    """

    seed: str
    ports: Sequence[int]
    tenants: Sequence[Tenant]
    token: str
    manner: Manner = field(default_factory=Manner)
    calls: list[Call] = field(default_factory=list)
    stopping: bool = False
    shared: list[tuple[Tenant, str]] = field(default_factory=list)
    avoided: set[int] = field(default_factory=set)
    acknowledged: int = 0

    def unknown_since(self, moment: float) -> list[Call]:
        """Calls begun since then that were not answered, or with a 5xx."""
        return [call for call in self.calls if call.began >= moment and call.outcome is Outcome.UNKNOWN]

    def slow(self, *, since: float = 0.0, until: float = float("inf"), share: float = 0.99) -> float:
        """The quantile of the seconds that good answers took, of calls begun in this time; 0 without any."""
        took = sorted(
            call.ended - call.began
            for call in self.calls
            if call.outcome is Outcome.OK and since <= call.began < until
        )
        return took[int(len(took) * share)] if took else 0.0

    async def grows(self, by: int, *, within: float = 30.0) -> None:
        """Wait for so many more good answers.

        Raises:
            NotHealedError: they do not come.
        """
        wanted, ends = self.acknowledged + by, time.monotonic() + within
        while (now := self.acknowledged) < wanted:
            if time.monotonic() > ends:
                raise NotHealedError(f"{wanted - now} of {by} good answers did not come within {within:g} s")
            await asyncio.sleep(0.02)

    async def call(
        self,
        lines: Iterable[Line],
        action: Action,
        tenant: Tenant,
        *,
        label: str = "",
        key: str = "",
        once: str = "",
    ) -> Call:
        """Make a call and keep it.

        Args:
            lines: Where it is sent: as a balancer does, a replica that takes no connection is passed over.
            action: What is asked for.
            tenant: Of which project.
            label: The key's new name, unlike all others.
            key: The public key, unless one is made.
            once: An idempotency key.
        """
        began = time.monotonic()
        call = Call(action, tenant, label, began, began, Outcome.UNKNOWN, key=key, once=once)
        try:
            call = _told(call, await _asked(lines, call, self.token))
        except NoAnswerError as error:
            call = replace(call, reason=str(error))
        call = replace(call, ended=time.monotonic())
        self.calls.append(call)
        self.acknowledged += call.outcome is Outcome.OK
        return call


_METHODS: Final = {Action.CREATE: "POST", Action.UPDATE: "PUT", Action.DELETE: "DELETE"}


async def _asked(lines: Iterable[Line], call: Call, token: str) -> Response:
    path = call.tenant.keys_path + (f"{call.key}/" if call.key else "")
    body = {"name": call.label} if call.label else None
    reason = "no replica is asked"
    for line in lines:
        try:
            return await line.ask(_METHODS[call.action], path, token=token, body=body, once=call.once)
        except NobodyThereError as error:
            reason = str(error)
    raise NoAnswerError(f"nobody is there: {reason}")


@asynccontextmanager
async def running(load: Load) -> AsyncIterator[Load]:
    """The callers, for the time of the block; all have their last answer when it ends."""
    callers = [asyncio.create_task(_Caller(load, number).work()) for number in range(load.manner.callers)]
    try:
        yield load
    finally:
        load.stopping = True
        await asyncio.gather(*callers)


class _Caller:
    """One thing at a time."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._name = f"{load.seed}-{number}"
        self._rng = random.Random(self._name)
        self._lines = {port: Line(port) for port in load.ports}
        self._mine: list[tuple[Tenant, str]] = []
        self._labels = 0
        self._fresh = load.manner.fresh and number % 2 == 1

    async def work(self) -> None:
        try:
            while not self._load.stopping:
                await self._step()
                await asyncio.sleep(self._load.manner.pace)
        finally:
            for line in self._lines.values():
                line.close()

    async def _step(self) -> None:
        chosen = self._rng.random()
        known = self._load.shared if self._rng.random() < _SHARED else self._mine
        if chosen < _CREATES or not known:
            await self._create()
            return
        tenant, key = self._rng.choice(known)
        if chosen < _CREATES + _UPDATES:
            label = self._label()
            await self._call(Action.UPDATE, tenant, label=label, key=key)
        else:
            known.remove((tenant, key))
            await self._call(Action.DELETE, tenant, key=key)

    async def _create(self) -> None:
        tenant, label = self._rng.choice(self._load.tenants), self._label()
        once = f"once-{label}" if self._rng.random() < _WITH_KEY else ""
        again = bool(once) and self._rng.random() < _REPLAYS
        call = await self._make(tenant, label, once)
        tries = 0
        # 409: the first try is still under way.
        while once and (call.outcome is Outcome.UNKNOWN or call.status == 409) and tries < _MOST_TRIES:  # noqa: PLR2004 -- HTTP's own
            await asyncio.sleep(_AGAIN_AFTER)
            call, tries = await self._make(tenant, label, once), tries + 1
        if call.outcome is Outcome.OK:
            shared = self._rng.random() < _SHARED
            (self._load.shared if shared else self._mine).append((tenant, call.key))
            if again and not shared:
                await self._make(tenant, label, once)

    def _label(self) -> str:
        self._labels += 1
        return f"{self._name}-{self._labels}"

    async def _make(self, tenant: Tenant, label: str, once: str) -> Call:
        return await self._call(Action.CREATE, tenant, label=label, once=once)

    async def _call(
        self, action: Action, tenant: Tenant, *, label: str = "", key: str = "", once: str = ""
    ) -> Call:
        lines = [line for port, line in self._lines.items() if port not in self._load.avoided]
        self._rng.shuffle(lines)
        call = await self._load.call(lines, action, tenant, label=label, key=key, once=once)
        if self._fresh:
            for line in lines:
                line.close()
        if call.status == _COME_AGAIN:
            await asyncio.sleep(self._load.manner.pause * self._rng.uniform(0.5, 1.5))
        return call


def _told(call: Call, answer: Response) -> Call:
    status = answer.status
    if status >= 500:  # noqa: PLR2004 -- HTTP's own
        return replace(call, status=status, reason=f"{status} {answer.body[:200]!r}")
    if status >= 400:  # noqa: PLR2004 -- HTTP's own
        return replace(call, status=status, outcome=Outcome.REFUSED)
    body = answer.json()
    return replace(
        call,
        status=status,
        outcome=Outcome.OK,
        key=call.key or body.get("id", ""),
        event_id=answer.headers.get("event-id", ""),
        secret=body.get("secret", ""),
    )
