"""Answers to relays over interleavings of requests, events, time and outages of Kafka; without input or output."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from projectkeys_consumer import NotReadyError
from service.edge.client_keys import ClientKeys
from service.edge.metrics import EdgeMetrics
from service.edge.project_configs import ProjectConfigs, parse_query
from service.edge.unknown_keys import GRACE, UnknownKeys

_KEYS: Final = tuple(digit * 32 for digit in "abc")
_FIRST, _UPDATES = 1, ("active", "disabled", "deleted")


@dataclass
class _Topic:
    """A topic, and the copy of an edge that lags behind it."""

    now: float = 1000.0
    available: bool = True
    written: dict[str, tuple[int, str]] = field(default_factory=dict)
    applied: dict[str, tuple[int, str]] = field(default_factory=dict)
    during: Sequence[Any] = ()
    is_complete: bool = True

    def step(self, step: Any) -> None:
        """Write an event, read the topic, let time pass, or start or end an outage."""
        match step:
            case ("event", key, update):
                version = self.written.get(key, (0, ""))[0] + 1
                self.written[key] = (version, update if version > _FIRST else "active")
            case ("read",):
                self.applied.update(self.written if self.available else {})
            case ("time", seconds):
                self.now += seconds
            case ("outage", is_over):
                self.available = is_over

    def value(self, public_key: str) -> bytes | None:
        version, state = self.applied.get(public_key, (0, "deleted"))
        if state == "deleted":
            return None
        members = {"id": public_key, "projectId": 1, "organizationId": 1, "isActive": state == "active"}
        return orjson.dumps({**members, "keyId": 7, "rateLimit": {"window": 1, "count": version}})

    def version(self, public_key: str) -> int:
        return self.applied.get(public_key, (0, ""))[0]

    async def catch_up(self, _max_wait: float, /) -> None:
        """Reach the end as of the call, after whatever happens meanwhile."""
        wanted, available = dict(self.written), self.available
        for step in self.during:
            self.step(step)
        if not (available and self.available):
            raise NotReadyError("outage")
        for key, state in wanted.items():
            self.applied[key] = max(self.applied.get(key, (0, "")), state)

    async def wait_for(self, public_key: str, version: int, max_wait: float, /) -> object:
        raise AssertionError((public_key, version, max_wait))


def _complete(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


_EVENTS = st.tuples(st.just("event"), st.sampled_from(_KEYS), st.sampled_from(_UPDATES))
_STEPS = st.one_of(
    _EVENTS,
    st.just(("read",)),
    st.tuples(st.just("time"), st.sampled_from([0.1, 0.5, 1.0, 30.0])),
    st.tuples(st.just("outage"), st.booleans()),
)
_ASKS = st.tuples(
    st.just("ask"), st.lists(st.sampled_from(_KEYS), min_size=1, unique=True), st.lists(_STEPS, max_size=3)
)


class _Relay:
    """Asks, keeps revisions as Relay does, and checks each answer."""

    def __init__(self) -> None:
        self.topic = _Topic()
        clock = lambda: self.topic.now  # noqa: E731 -- the clock of the model
        metrics = EdgeMetrics(CollectorRegistry())
        unknown = UnknownKeys(self.topic, clock=clock)
        self.configs = ProjectConfigs(ClientKeys(self.topic, clock=clock), unknown, [], metrics)
        self.revisions: dict[str, str | None] = {}
        self.limits: dict[str, int] = {}
        self.first_asked: dict[str, float] = {}

    def ask(self, keys: list[str], during: Sequence[Any]) -> None:
        topic, before = self.topic, dict(self.topic.written)
        for key in keys:
            self.first_asked.setdefault(key, topic.now)
        topic.during, responds = during, topic.available
        held = [self.revisions.get(key) for key in keys]
        answer = _complete(self.configs.answer(parse_query({"publicKeys": keys, "revisions": held})))
        responds = responds and topic.available
        for key, revision in zip(keys, held, strict=True):
            places = [name for name in ("configs", "pending", "unchanged") if key in answer[name]]
            assert len(places) == 1
            self._check(key, places[0], answer["configs"].get(key), revision)
            if places == ["pending"]:
                assert key not in topic.applied, "a key of which an event is known is decided"
                assert not responds or topic.now - self.first_asked[key] < GRACE, "it is decided after a second"
            elif key not in topic.applied:
                assert key not in before, "null for a key whose event was in the topic"
                assert responds, "null while Kafka is unavailable"
                assert topic.now - self.first_asked[key] >= GRACE, "null within the first second"

    def _check(self, key: str, place: str, config: Any, revision: str | None) -> None:
        version, state = self.topic.applied.get(key, (0, "deleted"))
        if place == "unchanged":
            assert state == "active"
            assert revision is not None
            assert self.limits[key] == version, "unchanged although the relay has an older configuration"
        elif place == "configs" and state != "active":
            assert config is None
            self.revisions[key] = None
        elif place == "configs":
            content = orjson.loads(orjson.dumps(config))
            assert content["config"]["quotas"][0]["limit"] == version
            assert content["rev"] != revision
            self.revisions[key], self.limits[key] = content["rev"], version


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_STEPS, _ASKS), min_size=15, max_size=40))
def test_every_answer_is_safe_and_is_given_in_time(steps: list[Any]) -> None:
    """Each key is in one member; null, pending and unchanged only where they are right."""
    relay = _Relay()
    for step in steps:
        if step[0] == "ask":
            relay.ask(step[1], step[2])
        else:
            relay.topic.step(step)
