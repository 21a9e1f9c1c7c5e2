"""`events tail` as a process: what it shows, in which form, and how it ends."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from service.app import Service
from service.dev.ports import free_port
from service.domain.events import EventType
from service.domain.model import new_key_half
from service.domain.partitioning import shard_of
from testkit.polling import poll_until
from testkit.processes import ROOT, Process
from tests.conftest import make_project
from tests.processes import running
from tests.topic_writer import TopicWriter, records_of, topic_writer

_ENDS_WITHIN = 15.0


@pytest.fixture
async def writer(kafka_bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """A writer to the topic of one test."""
    async with topic_writer(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def environment(kafka_bootstrap: str, topic: str, database_url: str) -> dict[str, str]:
    """What leads to the topic and to the database."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC": topic,
        "DATABASE_URL": database_url,
    }


@dataclass(frozen=True, slots=True)
class Tail:
    """A running `events tail`."""

    process: Process

    @property
    def lines(self) -> list[str]:
        """What it has shown."""
        return self.process.output.splitlines()

    async def shows(self, number: int) -> list[str]:
        """Its lines once there are so many."""
        await poll_until(lambda: len(self.lines) >= number)
        return self.lines


@asynccontextmanager
async def _tail(*words: str, environment: Mapping[str, str], directory: Path) -> AsyncIterator[Tail]:
    """The command, once it watches."""
    async with running("events", "tail", *words, environment=environment, directory=directory) as process:
        await poll_until(lambda: "Watching" in process.errors or not process.running)
        assert process.running, process.errors
        yield Tail(process)


async def test_events_are_shown_as_they_come(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """From now on, one a line, the tombstone too; what was there before and the service's marks are not."""
    key = new_key_half()
    await writer.write(new_key_half(), 1)
    async with _tail(environment=environment, directory=tmp_path) as tail:
        await writer.write_control_records()
        for version, kind in enumerate(EventType, 1):
            await writer.write(key, version, kind, name="Fabulous 'Key'")
        lines = await tail.shows(4)
        assert tail.process.errors == f"Watching {writer.topic}; Ctrl-C ends it.\n"
    about = "project 1 \"Fabulous 'Key'\""
    assert lines == [
        f"04:54:16.000 projectkey.created   {key} v1 {about}",
        f"04:54:16.000 projectkey.updated   {key} v2 {about}",
        f"04:54:16.000 projectkey.deleted   {key} v3 {about}",
        f"04:54:16.000 projectkey.deleted   {key} v3 tombstone",
    ]


async def test_from_the_beginning_as_json(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each record whole: where it stands, its time, headers and value."""
    key = new_key_half()
    await writer.write(key, 1, EventType.DELETED)
    async with _tail("--from", "beginning", "--json", environment=environment, directory=tmp_path) as tail:
        state, tombstone = (json.loads(line) for line in await tail.shows(2))
    assert (state["partition"], state["offset"], tombstone["offset"]) == (shard_of(key), 0, 1)
    assert state["timestamp"] == "2026-11-24T04:54:16Z"
    assert state["key"] == state["value"]["id"] == tombstone["key"] == key
    assert state["headers"]["ce_type"] == "projectkey.deleted"
    assert (tombstone["value"], tombstone["headers"]["ce_keyversion"]) == (None, "1")


async def _of(tail: Tail, number: int) -> list[tuple[str, int, bool]]:
    """Key, version and whether it is a tombstone, of so many records."""
    told = [json.loads(line) for line in await tail.shows(number)]
    return [(one["key"], int(one["headers"]["ce_keyversion"]), one["value"] is None) for one in told]


async def test_filters_show_what_was_asked_for(
    writer: TopicWriter, environment: dict[str, str], service: Service, tmp_path: Path
) -> None:
    """A project by its id or by its names, with the tombstones of its keys; keys; types; all of them together."""
    project = await make_project(service)
    ours, theirs = new_key_half(), new_key_half()
    for key, number in ((ours, project.id), (theirs, project.id + 1)):
        for version, kind in enumerate(EventType, 1):
            await writer.write(key, version, kind, projectId=number)
    end = new_key_half()
    await writer.append(records_of(end, 1, projectId=project.id), shard_of(ours))
    all_of_ours = [(ours, 1, False), (ours, 2, False), (ours, 3, False), (ours, 3, True)]
    slug = f"{project.organization.slug}/{project.slug}"
    for words, expected in (
        (["--project", str(project.id)], [*all_of_ours, (end, 1, False)]),
        (["--project", slug, "--key", ours], all_of_ours),
        (["--key", ours, "--key", end, "--type", "updated"], [(ours, 2, False), (end, 1, False)]),
        (["--type", "deleted", "--project", slug], all_of_ours[2:]),
    ):
        every = ["--from", "beginning", "--json", *words]
        async with _tail(*every, environment=environment, directory=tmp_path) as tail:
            assert await _of(tail, len(expected)) == expected


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--project", "nobody/nothing"], 1, "there is no project nothing in nobody"),
        (["--project", "nothing"], 2, "an id, or an organization and a project such as acme/web, please"),
        (["--type", "renamed"], 2, "invalid choice"),
    ],
)
async def test_a_filter_that_can_match_nothing_is_told(
    words: list[str], code: int, said: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Instead of a silence that looks like a topic in which nothing happens."""
    async with running("events", "tail", *words, environment=environment, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=_ENDS_WITHIN) == code
        assert said in process.errors


async def test_whatever_is_in_the_topic_is_shown_and_harms_no_terminal(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """Values that are no JSON or no state, keys that would move the cursor; the next event is shown all the same."""
    [record] = records_of(new_key_half(), 1)
    strange = [replace(record, value=b"{"), replace(record, value=b"[]"), replace(record, key=b"\x1b[2J")]
    key = new_key_half()
    await writer.append([*strange, *records_of(key, 1, name="\x1b[31mred")], 0)
    async with _tail("--from", "beginning", environment=environment, directory=tmp_path) as tail:
        lines = await tail.shows(4)
        assert "\x1b" not in tail.process.output
    assert lines[0].endswith("no state: '{'")
    assert lines[1].endswith("no state: []")
    assert r"'\x1b[2J'" in lines[2]
    assert lines[3].endswith(r"project 1 '\x1b[31mred'")
    async with _tail("--from", "beginning", "--json", environment=environment, directory=tmp_path) as tail:
        told = [json.loads(line)["value"] for line in await tail.shows(4)]
        assert told[:2] == ["{", []]


@asynccontextmanager
async def _on_a_terminal(
    *words: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The command with a terminal for its output, and the other end of that."""
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "events", "tail", "--from", "beginning", *words,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment},
        stdin=asyncio.subprocess.DEVNULL, stdout=its, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    os.close(its)
    try:
        yield process, ours
    finally:
        os.close(ours)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _read(terminal: int, until: str) -> str:
    """What the terminal gets until there is this text in it."""
    said = bytearray()
    os.set_blocking(terminal, False)

    def more() -> bool:
        with suppress(BlockingIOError):
            said.extend(os.read(terminal, 4096))
        return until.encode() in said

    await poll_until(more)
    return said.decode()


async def test_a_terminal_gets_colours_unless_they_are_not_wanted(
    writer: TopicWriter, environment: dict[str, str]
) -> None:
    """A colour for each type; none with NO_COLOR, none for machines."""
    key = new_key_half()
    for version, kind in enumerate(EventType, 1):
        await writer.write(key, version, kind)
    async with _on_a_terminal(environment=environment) as (_, terminal):
        said = await _read(terminal, "tombstone")
        colours = re.findall(r"\x1b\[(\d+)mprojectkey\.(\w+)", said)
        assert colours == [("32", "created"), ("33", "updated"), ("31", "deleted"), ("31", "deleted")]
    for words, more in (([], {"NO_COLOR": "1"}), (["--json"], {})):
        async with _on_a_terminal(*words, environment=environment | more) as (_, terminal):
            said = await _read(terminal, '"value":null' if words else "tombstone")
            assert "\x1b" not in said


async def test_ctrl_c_ends_it_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    """With the code that shells know, and without a word."""
    async with _tail(environment=environment, directory=tmp_path) as tail:
        pressed_at = time.monotonic()
        tail.process.signal(signal.SIGINT)
        assert await tail.process.wait_for_exit(timeout=5) == 130
        assert time.monotonic() - pressed_at < 3
        assert tail.process.errors.count("\n") == 1


async def test_it_ends_with_whoever_reads_it(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """As before `| head -1`, though nothing more comes; there is no complaint."""
    await writer.write(new_key_half(), 1)
    reads, writes = os.pipe()
    errors = tmp_path / "errors"
    with errors.open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "events", "tail", "--from", "beginning",
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment},
            stdin=asyncio.subprocess.DEVNULL, stdout=writes, stderr=told,
        )  # fmt: skip
    os.close(writes)
    try:
        assert "projectkey.updated" in await _read(reads, "\n")
        os.close(reads)
        async with asyncio.timeout(_ENDS_WITHIN):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert errors.read_text() == f"Watching {writer.topic}; Ctrl-C ends it.\n"


async def test_without_kafka_or_topic_it_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    """At once, in a sentence that names the settings."""
    nobody = {**environment, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    for given, words in (
        (nobody, nobody["KAFKA_BOOTSTRAP_SERVERS"]),
        ({**environment, "KAFKA_TOPIC": "none"}, "there is no topic none to be read"),
    ):
        async with running("events", "tail", environment=given, directory=tmp_path) as process:
            assert await process.wait_for_exit(timeout=_ENDS_WITHIN) == 1
            assert words in process.errors
            assert "Traceback" not in process.errors
