"""Random sequences of creates, changes, rotations and hours: the service does what a model of ten lines does."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import hypothesis
import orjson
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from service.app import Service
from service.domain.errors import KeyExpiredError, KeyStateError
from service.domain.model import NewProjectKey, Project, ProjectKeyChange, Rotation, Unset
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres

_HOUR = 3600
Operation: TypeAlias = tuple[Any, ...]

_EXPIRIES = st.none() | st.integers(1, 5)
_CHANGES = st.sampled_from([True, False, None])
_INDEXES = st.integers(0, 7)
_OPERATIONS = st.lists(
    st.tuples(st.just("create"), _EXPIRIES)
    | st.tuples(st.just("rotate"), _INDEXES, st.integers(0, 5), st.just("inherit") | _EXPIRIES)
    | st.tuples(st.just("change"), _INDEXES, _CHANGES, st.just("keep") | _EXPIRIES)
    | st.tuples(st.just("wait"), st.integers(1, 4)),
    min_size=1,
    max_size=14,
)


@dataclass
class _Key:
    """A key of the model: the hours until it expires, and the number of its versions."""

    active: bool = True
    left: int | None = None
    versions: int = 1
    successor: int | None = None


@dataclass
class _Model:
    """The keys in the order of their creation, and each rotation with the hours of its overlap that are left.

    A rotation is dropped when a request changes one of its keys.
    """

    keys: list[_Key] = field(default_factory=list)
    rotations: list[tuple[int, int, int]] = field(default_factory=list)

    def rotate(self, number: int, overlap: int, left: Any) -> bool:
        """Rotate a key; return False if that is refused."""
        old = self.keys[number]
        if not old.active or old.successor is not None:
            return False
        self.keys.append(_Key(left=old.left if left == "inherit" else left))
        old.left = overlap if old.left is None else min(old.left, overlap)
        old.successor, old.active, old.versions = len(self.keys) - 1, overlap > 0, old.versions + 1
        self.rotations.append((number, old.successor, min(old.left, overlap)))
        return True

    def change(self, number: int, active: Any, left: Any) -> bool:
        """Change a key; return False if that is refused."""
        before = self.keys[number]
        after = replace(before, left=before.left if left == "keep" else left)
        after.active = before.active if active is None else active
        if active and after.left is not None and after.left <= 0:
            return False
        # An expiry that is set again is another time.
        after.versions += after != before or left not in {"keep", None}
        self.keys[number] = after
        self.rotations = [rotation for rotation in self.rotations if number not in rotation[:2]]
        return True

    def wait(self, hours: int) -> None:
        """Let time pass, and let the service disable what has expired."""
        for key in self.keys:
            if key.left is not None:
                key.left -= hours
                key.versions += key.active and key.left <= 0
                key.active = key.active and key.left > 0
        self.rotations = [(old, new, left - hours) for old, new, left in self.rotations]


def _time(left: int | None) -> datetime | None:
    return None if left is None else datetime.now(UTC) + timedelta(hours=left)


@dataclass
class _Subject:
    """The service: the same operations on its keys."""

    service: Service
    postgres: Postgres
    project: Project
    keys: list[str] = field(default_factory=list)

    async def create(self, left: int | None) -> None:
        created = await self.service.use_cases.create_key.execute(
            NewProjectKey(expires_at=_time(left)), self.project, ORIGIN
        )
        self.keys.append(created.key.public_key)

    async def rotate(self, number: int, overlap: int, left: Any) -> bool:
        expires_at = Unset.UNSET if left == "inherit" else _time(left)
        rotation = Rotation(overlap=overlap * _HOUR, expires_at=expires_at)
        try:
            rotated = await self.service.use_cases.rotate_key.execute(
                self.project, self.keys[number], rotation, ORIGIN
            )
        except KeyStateError:
            return False
        self.keys.append(rotated.key.public_key)
        return True

    async def change(self, number: int, active: Any, left: Any) -> bool:
        change = ProjectKeyChange(is_active=active, expires_at=Unset.UNSET if left == "keep" else _time(left))
        try:
            await self.service.use_cases.change_keys.update(self.project, self.keys[number], change, ORIGIN)
        except KeyExpiredError:
            return False
        return True

    async def wait(self, hours: int) -> None:
        await self.postgres.execute(f"UPDATE project_key SET expires_at = expires_at - interval '{hours} h'")  # noqa: S608 -- a number
        await self.service.expiry.step()

    async def states(self) -> list[tuple[bool, int, int]]:
        """Return whether each key is active, its version, and the number of its events, of which the last agrees."""
        found = []
        for key in self.keys:
            row = await self.postgres.fetchrow(
                "SELECT is_active, version FROM project_key WHERE public_key = $1", key
            )
            events = await self.postgres.fetch(
                "SELECT version, payload FROM outbox WHERE aggregateid = $1 ORDER BY seq", key
            )
            assert row is not None
            assert [event["version"] for event in events] == list(range(1, row["version"] + 1))
            assert orjson.loads(events[-1]["payload"])["isActive"] == row["is_active"]
            found.append((row["is_active"], row["version"], len(events)))
        return found


@hypothesis.settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=_OPERATIONS)
async def test_keys_live_as_in_the_model_and_one_of_a_rotation_is_active(
    service: Service, postgres: Postgres, operations: list[Operation]
) -> None:
    """After each operation: which keys are active, in which version, and what was refused."""
    await postgres.execute("TRUNCATE organization, project_key, outbox, audit_entry RESTART IDENTITY CASCADE")
    service.use_cases.projects.cache.clear()
    model, subject = _Model(), _Subject(service, postgres, await make_project(service))
    for name, *arguments in operations:
        if name == "create":
            model.keys.append(_Key(left=arguments[0]))
            await subject.create(arguments[0])
        elif name == "wait":
            model.wait(arguments[0])
            await subject.wait(arguments[0])
        elif model.keys:
            number, *rest = arguments[0] % len(model.keys), *arguments[1:]
            expected = getattr(model, name)(number, *rest)
            assert await getattr(subject, name)(number, *rest) == expected, (name, number, rest)
        assert await subject.states() == [(key.active, key.versions, key.versions) for key in model.keys]
        for old, new, left in model.rotations:
            assert left <= 0 or model.keys[old].active or model.keys[new].active
