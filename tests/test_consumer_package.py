"""The consumer kit as users install and run it: in an empty environment, by its documentation, by its examples."""

import asyncio
import json
import re
import signal
import tarfile
import textwrap
import tomllib
import zipfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

import projectkeys_consumer
from projectkeys_consumer import ProjectKeys
from projectkeys_consumer.examples import files, store
from projectkeys_servers.kafka import EmbeddedKafka
from service.domain.events import EventType
from service.domain.model import new_key_half
from testkit.archives import extract
from testkit.polling import poll_until
from tests.installed_kit import KIT, ROOT, KitEnvironment, build, install_kit
from tests.kafka_harness import new_topic
from tests.topic_writer import topic_writer

_TIMEOUT: Final = 5.0
_PROGRAM_TIMEOUT: Final = 60.0
"""Seconds."""

_EXAMPLES: Final = "projectkeys_consumer.examples"


@pytest.fixture(scope="module")
async def kit_environment(tmp_path_factory: pytest.TempPathFactory) -> KitEnvironment:
    """An environment with the kit and aiokafka alone."""
    return await install_kit(tmp_path_factory.mktemp("kit"))


async def test_the_kit_is_installed_in_an_empty_environment(kit_environment: KitEnvironment, tmp_path: Path) -> None:
    """Its public names and both examples are imported there, with aiokafka and without the service."""
    program = f"""
import sys, projectkeys_consumer, {_EXAMPLES}.files, {_EXAMPLES}.store
from importlib.metadata import distributions
from importlib.util import find_spec
assert all(hasattr(projectkeys_consumer, name) for name in projectkeys_consumer.__all__)
print(sys.prefix in projectkeys_consumer.__file__, find_spec("service"))
print(*sorted(one.metadata["Name"] for one in distributions()))
"""
    first, names = (await kit_environment.run("-c", program, directory=tmp_path)).splitlines()
    assert first == "True None"
    needed = {"aiokafka", "async-timeout", "packaging", "projectkeys-consumer", "typing_extensions"}
    assert {"aiokafka", "projectkeys-consumer"} <= set(names.split()) <= needed


async def test_the_wheel_of_the_kit_has_its_types_and_its_license(tmp_path: Path) -> None:
    """The license is that of the repository; the package is marked as typed."""
    with zipfile.ZipFile(await build(KIT, "wheel", tmp_path)) as wheel:
        names = set(wheel.namelist())
        [license_name] = [name for name in names if name.endswith("/licenses/LICENSE")]
        assert wheel.read(license_name) == (ROOT / "LICENSE").read_bytes()
    assert "projectkeys_consumer/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        "projectkeys_consumer",
        "projectkeys_consumer-0.1.0.dist-info",
    }


async def test_the_wheel_of_the_service_contains_its_packages_and_no_others(tmp_path: Path) -> None:
    """Neither tests nor tools; the source distribution gives the same wheel."""
    (from_checkout := tmp_path / "checkout").mkdir()
    (sources := tmp_path / "sources").mkdir()
    (from_sources := tmp_path / "wheel").mkdir()
    names = await _wheel_names(ROOT, from_checkout)
    assert {name.partition("/")[0] for name in names} == {
        "service",
        "projectkeys_consumer",
        "projectkeys_servers",
        "projectkeys-0.1.0.dist-info",
    }
    assert {"projectkeys_consumer/examples/files.py", "projectkeys_consumer/py.typed"} <= names
    assert {"service/http/docs/openapi.json", "service/contract/asyncapi.json"} <= names
    with tarfile.open(await build(ROOT, "sdist", sources)) as archive:
        extract(archive, sources)
    [unpacked] = [path for path in sources.iterdir() if path.is_dir()]
    assert await _wheel_names(unpacked, from_sources) == names


async def _wheel_names(project: Path, directory: Path) -> set[str]:
    with zipfile.ZipFile(await build(project, "wheel", directory)) as wheel:
        return set(wheel.namelist())


def test_kit_and_service_require_the_same_aiokafka() -> None:
    """The service's wheel contains the kit."""
    [of_kit] = tomllib.loads((KIT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert of_kit in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def _example() -> str:
    """Return the program in the package's docstring."""
    assert projectkeys_consumer.__doc__ is not None
    _, _, indented = projectkeys_consumer.__doc__.partition("::\n")
    return textwrap.dedent(indented).strip()


@pytest.mark.parametrize("page", [ROOT / "docs" / "consumers.md", KIT / "README.md"], ids=["consumers", "kit"])
def test_the_documentation_has_the_example(page: Path) -> None:
    """The same program as in the docstring."""
    assert f"```python\n{_example()}\n```\n" in page.read_text()


@asynccontextmanager
async def _running_example(
    environment: KitEnvironment, bootstrap_servers: str, directory: Path
) -> AsyncIterator[Process]:
    file = directory / "example.py"
    await asyncio.to_thread(file.write_text, _example())
    process = await asyncio.create_subprocess_exec(
        environment.python,
        "-u",
        file,
        cwd=directory,
        env={"KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()


async def test_the_documented_example_prints_existing_keys_and_changes(
    own_kafka: EmbeddedKafka, kit_environment: KitEnvironment, tmp_path: Path
) -> None:
    """It runs unchanged, with the bootstrap servers from the environment; an interrupt ends it."""
    await new_topic(own_kafka.bootstrap_servers, name="project-keys")
    existing, new = new_key_half(), new_key_half()
    async with (
        topic_writer(own_kafka.bootstrap_servers, "project-keys") as writer,
        _running_example(kit_environment, own_kafka.bootstrap_servers, tmp_path) as process,
        asyncio.timeout(_PROGRAM_TIMEOUT),
    ):
        assert process.stdout is not None
        await writer.write(existing, 1, EventType.CREATED, name="Existing")
        started = sorted([(await process.stdout.readline()).decode() for _ in range(2)], key=len)
        assert re.fullmatch(r"[01] keys, \d+\.\d s behind\n", started[0])
        assert started[1] == f"{existing} Existing\n"
        await writer.write(new, 1, EventType.CREATED, name="New")
        assert (await process.stdout.readline()).decode() == f"{new} New\n"
        await writer.write(new, 2, EventType.DELETED)
        assert (await process.stdout.readline()).decode() == f"{new} deleted\n"
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
        assert (process.returncode, output, errors) == (0, b"", b"")
    assert await asyncio.to_thread((tmp_path / "keys.snapshot").is_file)


async def test_the_file_example_keeps_one_file_per_key(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    """Files of deleted keys, and of keys that the topic does not have, are removed."""
    existing, deleted, unknown = (new_key_half() for _ in range(3))
    _file(tmp_path, unknown).write_text("{}")
    async with topic_writer(kafka_bootstrap, topic) as writer:
        await writer.write(existing, 1)
        await writer.write(deleted, 1)
        async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic) as keys:
            await files.mirror(keys, tmp_path)
            await poll_until(lambda: _keys_in(tmp_path) == {existing, deleted}, timeout=_TIMEOUT)
            await writer.write(deleted, 2, EventType.DELETED)
            await writer.write(existing, 2, isActive=False)
            await poll_until(lambda: _keys_in(tmp_path) == {existing}, timeout=_TIMEOUT)
            await poll_until(lambda: _has_members(tmp_path, existing, version=2, is_active=False), timeout=_TIMEOUT)


def _file(directory: Path, key: str) -> Path:
    return directory / f"{key}.json"


def _keys_in(directory: Path) -> set[str]:
    return {path.stem for path in directory.glob("*.json")}


def _has_members(directory: Path, key: str, **members: object) -> bool:
    stored: dict[str, object] = json.loads(_file(directory, key).read_text())
    return members.items() <= stored.items()


class _UnreliableStore(dict[str, str]):
    """A store in memory whose first write fails, as may happen over a network."""

    failures = 1

    async def set(self, name: str, value: str, /) -> None:
        """Store the value."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the store is unavailable")
        self[name] = value

    async def delete(self, name: str, /) -> None:
        """Remove the name."""
        self.pop(name, None)


async def test_the_store_example_writes_every_key(kafka_bootstrap: str, topic: str) -> None:
    """It retries while the store is unavailable, and removes deleted keys."""
    key, stored = new_key_half(), _UnreliableStore()
    async with topic_writer(kafka_bootstrap, topic) as writer:
        await writer.write(key, 1, rateLimit={"window": 60, "count": 5})
        async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic) as keys:
            store.mirror(keys, stored)
            await poll_until(lambda: stored, timeout=_TIMEOUT)
            assert json.loads(stored[f"dsn:{key}"]) == {
                "version": 1,
                "project": 1,
                "active": True,
                "limit": [5, 60],
            }
            await writer.write(key, 2, EventType.DELETED)
            await poll_until(lambda: not stored, timeout=_TIMEOUT)
