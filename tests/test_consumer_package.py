"""The consumer kit as a foreign program uses it: without the server's libraries, by its example, with its sinks."""

import asyncio
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Final

from service import consumer
from service.consumer import ProjectKeys
from service.consumer.examples import files, store
from service.dev.kafka import EmbeddedKafka
from service.domain.events import EventType
from service.domain.model import new_key_half
from testkit.polling import poll_until
from testkit.processes import ROOT
from tests.kafka_harness import new_topic
from tests.telling import telling

_SOON: Final = 5.0
_ENDS_WITHIN: Final = 30.0

_WITHOUT_THE_SERVER: Final = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Missing())
"""
"""What makes a program's environment one in which nothing of the server was installed."""

_SERVERS: Final = frozenset({
    "aiohttp", "apispec", "asyncpg", "environs", "marshmallow", "orjson", "petname", "prometheus_client",
    "structlog", "uvloop",
})  # fmt: skip


async def _run(program: str, directory: Path) -> str:
    """What a program prints that has the kit and aiokafka; fails if it does not end well."""
    file = directory / "program.py"
    await asyncio.to_thread(file.write_text, _WITHOUT_THE_SERVER.format(missing=set(_SERVERS)) + program)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(file),
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_ENDS_WITHIN):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_it_needs_nothing_of_the_server(tmp_path: Path) -> None:
    """The kit and both sinks are imported where none of the server's libraries is, and bring few modules."""
    program = """
import service.consumer.examples.files, service.consumer.examples.store
print(*sorted(name for name in sys.modules if name.partition(".")[0] == "service"))
"""
    modules = (await _run(program, tmp_path)).split()
    assert "service.consumer.keys" in modules
    assert {name for name in modules if not name.startswith("service.consumer")} == {
        "service",
        "service.domain",
        "service.domain.model",
    }


def _example() -> str:
    """The program in the package's own documentation."""
    assert consumer.__doc__ is not None
    _, _, indented = consumer.__doc__.partition("::\n")
    return textwrap.dedent(indented)


async def test_the_documented_example_runs(own_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """As it stands but for the address: it is fifteen lines and lets the event in."""
    program = _example()
    assert len(program.strip().splitlines()) <= 15
    await new_topic(own_kafka.bootstrap_servers, name="project-keys")
    key = "889a038dcce86f89a24e2c5bcf7b2e41"
    assert key in program
    async with telling(own_kafka.bootstrap_servers, "project-keys") as teller:
        await teller.tell(key, 1, EventType.CREATED)
    program = program.replace("localhost:9092", own_kafka.bootstrap_servers)
    said = (await _run(program, tmp_path)).splitlines()
    assert re.fullmatch(r"1 keys, \d+\.\d s behind", said[0])
    assert said[-1] == "let in"


async def test_every_key_has_a_file(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    """What lives, as it is; what is deleted, and what nobody tells of any more, is removed."""
    living, deleted, phantom = (new_key_half() for _ in range(3))
    _file(tmp_path, phantom).write_text("{}")
    async with telling(kafka_bootstrap, topic) as teller:
        await teller.tell(living, 1)
        await teller.tell(deleted, 1)
        async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic) as keys:
            await files.mirror(keys, tmp_path)
            await poll_until(lambda: _keys_in(tmp_path) == {living, deleted}, timeout=_SOON)
            await teller.tell(deleted, 2, EventType.DELETED)
            await teller.tell(living, 2, isActive=False)
            await poll_until(lambda: _keys_in(tmp_path) == {living}, timeout=_SOON)
            await poll_until(lambda: _says(tmp_path, living, version=2, is_active=False), timeout=_SOON)


def _file(directory: Path, key: str) -> Path:
    return directory / f"{key}.json"


def _keys_in(directory: Path) -> set[str]:
    return {one.stem for one in directory.glob("*.json")}


def _says(directory: Path, key: str, **members: object) -> bool:
    told: dict[str, object] = json.loads(_file(directory, key).read_text())
    return members.items() <= told.items()


class _Texts(dict[str, str]):
    """A store in memory that fails once, as one over a network would."""

    failures = 1

    async def set(self, name: str, value: str, /) -> None:
        """Hold it."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the store is away")
        self[name] = value

    async def delete(self, name: str, /) -> None:
        """Hold nothing."""
        self.pop(name, None)


async def test_every_key_is_in_the_store(kafka_bootstrap: str, topic: str) -> None:
    """What a gate has to know of it, though the store was away at first; nothing of a deleted one."""
    key, held = new_key_half(), _Texts()
    async with telling(kafka_bootstrap, topic) as teller:
        await teller.tell(key, 1, rateLimit={"window": 60, "count": 5})
        async with ProjectKeys(bootstrap_servers=kafka_bootstrap, topic=topic) as keys:
            store.mirror(keys, held)
            await poll_until(lambda: held, timeout=_SOON)
            assert json.loads(held[f"dsn:{key}"]) == {
                "version": 1,
                "project": 1,
                "active": True,
                "limit": [5, 60],
            }
            await teller.tell(key, 2, EventType.DELETED)
            await poll_until(lambda: not held, timeout=_SOON)
