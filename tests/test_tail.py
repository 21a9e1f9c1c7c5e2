"""`events tail` as a process: its output and its exit."""

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

from projectkeys_servers.ports import free_port
from service.app import Service
from service.domain.events import EventType, shard_of
from service.domain.model import new_key_half
from testkit.polling import poll_until
from testkit.processes import ROOT, Process
from tests.conftest import make_project
from tests.processes import running
from tests.topic_writer import TopicWriter, records_of, topic_writer

_EXIT_TIMEOUT = 15.0


@pytest.fixture
async def writer(kafka_bootstrap: str, topic: str) -> AsyncIterator[TopicWriter]:
    """A writer to the topic of one test."""
    async with topic_writer(kafka_bootstrap, topic) as opened:
        yield opened


@pytest.fixture
def environment(kafka_bootstrap: str, topic: str, database_url: str) -> dict[str, str]:
    """The addresses of the topic and of the database."""
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
        """The lines of its output."""
        return self.process.output.splitlines()

    async def wait_for_lines(self, number: int) -> list[str]:
        """Wait for a number of lines; return them."""
        await poll_until(lambda: len(self.lines) >= number)
        return self.lines


@asynccontextmanager
async def _tail(*words: str, environment: Mapping[str, str], directory: Path) -> AsyncIterator[Tail]:
    """Start the command; wait until it reads the topic."""
    async with running("events", "tail", *words, environment=environment, directory=directory) as process:
        await poll_until(lambda: "Reading" in process.errors or not process.running)
        assert process.running, process.errors
        yield Tail(process)


async def test_events_are_printed_as_they_are_published(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """One line each, with the tombstone; neither earlier events nor control records are printed."""
    key = new_key_half()
    await writer.write(new_key_half(), 1)
    async with _tail(environment=environment, directory=tmp_path) as tail:
        await writer.write_control_records()
        for version, kind in enumerate(EventType, 1):
            await writer.write(key, version, kind, name="Fabulous 'Key'")
        lines = await tail.wait_for_lines(4)
        assert tail.process.errors == f"Reading {writer.topic}; press Ctrl-C to stop.\n"
    about = "project 1 \"Fabulous 'Key'\""
    assert lines == [
        f"04:54:16.000 projectkey.created   {key} v1 {about}",
        f"04:54:16.000 projectkey.updated   {key} v2 {about}",
        f"04:54:16.000 projectkey.deleted   {key} v3 {about}",
        f"04:54:16.000 projectkey.deleted   {key} v3 tombstone",
    ]


async def test_json_lines_have_the_whole_record(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """Position, timestamp, key, headers and value, from the beginning of the topic."""
    key = new_key_half()
    await writer.write(key, 1, EventType.DELETED)
    async with _tail("--from", "beginning", "--json", environment=environment, directory=tmp_path) as tail:
        state, tombstone = (json.loads(line) for line in await tail.wait_for_lines(2))
    assert (state["partition"], state["offset"], tombstone["offset"]) == (shard_of(key), 0, 1)
    assert state["timestamp"] == "2026-11-24T04:54:16Z"
    assert state["key"] == state["value"]["id"] == tombstone["key"] == key
    assert state["headers"]["ce_type"] == "projectkey.deleted"
    assert (tombstone["value"], tombstone["headers"]["ce_keyversion"]) == (None, "1")


async def _records(tail: Tail, number: int) -> list[tuple[str, int, bool]]:
    """Return the key and version of each record, and whether it is a tombstone."""
    records = [json.loads(line) for line in await tail.wait_for_lines(number)]
    return [(one["key"], int(one["headers"]["ce_keyversion"]), one["value"] is None) for one in records]


async def test_filters_select_events(
    writer: TopicWriter, environment: dict[str, str], service: Service, tmp_path: Path
) -> None:
    """By project id or slugs, with the tombstones of its keys; by key; by type; and combined."""
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
            assert await _records(tail, len(expected)) == expected


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--project", "unknown/nothing"], 1, "there is no project nothing in unknown"),
        (["--project", "nothing"], 2, "must be an id, or an organization and a project, such as acme/web"),
        (["--type", "renamed"], 2, "invalid choice"),
    ],
)
async def test_an_invalid_filter_is_reported(
    words: list[str], code: int, message: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Without output it would look like a topic without events."""
    async with running("events", "tail", *words, environment=environment, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=_EXIT_TIMEOUT) == code
        assert message in process.errors


async def test_any_record_is_printed_without_control_characters(
    writer: TopicWriter, environment: dict[str, str], tmp_path: Path
) -> None:
    """Values that are not JSON or not a state, and keys with escape sequences; the next event is printed too."""
    [record] = records_of(new_key_half(), 1)
    strange = [replace(record, value=b"{"), replace(record, value=b"[]"), replace(record, key=b"\x1b[2J")]
    key = new_key_half()
    await writer.append([*strange, *records_of(key, 1, name="\x1b[31mred")], 0)
    async with _tail("--from", "beginning", environment=environment, directory=tmp_path) as tail:
        lines = await tail.wait_for_lines(4)
        assert "\x1b" not in tail.process.output
    assert lines[0].endswith("not a state: '{'")
    assert lines[1].endswith("not a state: []")
    assert r"'\x1b[2J'" in lines[2]
    assert lines[3].endswith(r"project 1 '\x1b[31mred'")
    async with _tail("--from", "beginning", "--json", environment=environment, directory=tmp_path) as tail:
        records = [json.loads(line)["value"] for line in await tail.wait_for_lines(4)]
        assert records[:2] == ["{", []]


@asynccontextmanager
async def _on_a_terminal(
    *words: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Start the command with a terminal as its output; return the process and the other end of the terminal."""
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
    """Read the terminal until the output contains ``until``."""
    output = bytearray()
    os.set_blocking(terminal, False)

    def more() -> bool:
        with suppress(BlockingIOError):
            output.extend(os.read(terminal, 4096))
        return until.encode() in output

    await poll_until(more)
    return output.decode()


async def test_a_terminal_gets_colours_unless_no_color_is_set(
    writer: TopicWriter, environment: dict[str, str]
) -> None:
    """One colour per type; none with NO_COLOR and none in JSON."""
    key = new_key_half()
    for version, kind in enumerate(EventType, 1):
        await writer.write(key, version, kind)
    async with _on_a_terminal(environment=environment) as (_, terminal):
        output = await _read(terminal, "tombstone")
        colours = re.findall(r"\x1b\[(\d+)mprojectkey\.(\w+)", output)
        assert colours == [("32", "created"), ("33", "updated"), ("31", "deleted"), ("31", "deleted")]
    for words, more in (([], {"NO_COLOR": "1"}), (["--json"], {})):
        async with _on_a_terminal(*words, environment=environment | more) as (_, terminal):
            output = await _read(terminal, '"value":null' if words else "tombstone")
            assert "\x1b" not in output


async def test_ctrl_c_ends_it_immediately(environment: dict[str, str], tmp_path: Path) -> None:
    """With the exit code 130, and without a message."""
    async with _tail(environment=environment, directory=tmp_path) as tail:
        pressed_at = time.monotonic()
        tail.process.signal(signal.SIGINT)
        assert await tail.process.wait_for_exit(timeout=5) == 130
        assert time.monotonic() - pressed_at < 3
        assert tail.process.errors.count("\n") == 1


async def test_it_ends_when_its_reader_ends(writer: TopicWriter, environment: dict[str, str], tmp_path: Path) -> None:
    """As in `| head -1`, even if no further event follows; without an error message."""
    await writer.write(new_key_half(), 1)
    reads, writes = os.pipe()
    errors = tmp_path / "errors"
    with errors.open("wb") as error_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "events", "tail", "--from", "beginning",
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment},
            stdin=asyncio.subprocess.DEVNULL, stdout=writes, stderr=error_file,
        )  # fmt: skip
    os.close(writes)
    try:
        assert "projectkey.updated" in await _read(reads, "\n")
        os.close(reads)
        async with asyncio.timeout(_EXIT_TIMEOUT):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert errors.read_text() == f"Reading {writer.topic}; press Ctrl-C to stop.\n"


async def test_an_unreachable_kafka_or_a_missing_topic_is_reported(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Immediately, with the address or the topic."""
    unreachable = {**environment, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    for given, words in (
        (unreachable, unreachable["KAFKA_BOOTSTRAP_SERVERS"]),
        ({**environment, "KAFKA_TOPIC": "none"}, "the topic none cannot be read"),
    ):
        async with running("events", "tail", environment=given, directory=tmp_path) as process:
            assert await process.wait_for_exit(timeout=_EXIT_TIMEOUT) == 1
            assert words in process.errors
            assert "Traceback" not in process.errors
