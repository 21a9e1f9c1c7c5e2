"""Log lines: one JSON object each, readable on a terminal, never a secret."""

import asyncio
import io
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import structlog

from service import logs
from service.app import Service
from service.domain.scopes import SCOPES
from service.settings import Settings
from tests.conftest import make_project
from tests.events import reading, until
from tests.kafka_harness import unused_port


class Stream(io.StringIO):
    """A stream that counts its writes, and is a terminal where a test wants one."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.writes = 0
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._terminal

    def write(self, text: str) -> int:
        """Take ``text``."""
        self.writes += 1
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        """What stands in it, a line each."""
        return self.getvalue().splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines as JSON."""
        return [orjson.loads(line) for line in self.lines]


Configure = Callable[..., logs.LineWriter]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Sets up the log, and puts back what was there."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield logs.configure
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_line_is_one_json_object_that_says_when_how_bad_and_what_first(configure: Configure) -> None:
    """The rest follows as it was given; times are UTC."""
    stream = Stream()
    writer = configure(level="info", form="json", stream=stream)
    structlog.get_logger().warning("shard_failed", shard=3, error="no way")
    writer.flush()
    [line] = stream.lines
    assert re.match(
        r'\{"timestamp":"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z","level":"warning","event":"shard_failed",', line
    )
    assert orjson.loads(line)["error"] == "no way"


async def test_lines_are_written_together_and_soon(configure: Configure) -> None:
    """A burst costs one write; nobody has to ask for it."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    for number in range(100):
        structlog.get_logger().info("request", number=number)
    assert stream.lines == []
    await until(lambda: asyncio.sleep(0, result=stream.lines))
    assert stream.writes == 1
    assert [one["number"] for one in stream.objects] == list(range(100))


async def test_a_flood_does_not_wait_in_memory(configure: Configure) -> None:
    """From so many lines on nothing waits for the timer."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    for _ in range(1200):
        structlog.get_logger().info("request")
    assert len(stream.lines) == 1000


def test_without_a_loop_a_line_is_written_at_once(configure: Configure) -> None:
    """What is logged before and after the service runs is not lost."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    structlog.get_logger().info("too early")
    assert [one["event"] for one in stream.objects] == ["too early"]


def test_what_is_below_the_level_is_not_written(configure: Configure) -> None:
    """Neither of ours nor of a library's."""
    stream = Stream()
    configure(level="error", form="json", stream=stream)
    structlog.get_logger().warning("ours")
    logging.getLogger("some.library").warning("theirs")
    structlog.get_logger().error("bad")
    assert [one["event"] for one in stream.objects] == ["bad"]


def test_the_lines_of_libraries_come_through_in_our_form(configure: Configure) -> None:
    """From warnings on, with the logger's name, the arguments in place and the traceback as a member."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("%d%% of %s", 90, "it")
    try:
        _fail("no way")
    except OSError:
        library.exception("100% bad")
    warning, failure = stream.objects
    assert (warning["level"], warning["event"], warning["logger"]) == ("warning", "90% of it", "some.library")
    assert failure["event"] == "100% bad"
    assert failure["exception"].startswith("Traceback")
    assert failure["exception"].endswith("OSError: no way")


def _fail(words: str) -> None:
    raise OSError(words)


_HOSTILE = [
    "/a\n2026-01-01T00:00:00Z [info     ] forged",
    "/a\r\x1b[2Jgone",
    "\x00\x07\x7f\x85\x9b2J",
    "/line\u2028paragraph\u2029end",
    "/half a character \udcff",
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", _HOSTILE)
def test_no_value_can_write_a_line_of_its_own_or_steer_the_terminal(
    form: str, text: str, configure: Configure
) -> None:
    """Paths and names are the callers' choice: whatever they hold, a call is one printable line."""
    stream = Stream()
    configure(level="info", form=form, stream=stream)
    structlog.get_logger().info("request", path=text)
    logging.getLogger("some.library").warning("%s", text)
    structlog.get_logger().info("after")
    first, second, third = stream.getvalue().removesuffix("\n").split("\n")
    assert "after" in third
    for line in (first, second):
        assert line.encode()
        assert form == "json" or line.isprintable()
    if form == "json" and "\udcff" not in text:  # orjson refuses to read what only half exists
        assert orjson.loads(first)["path"] == orjson.loads(second)["event"] == text


def test_a_value_that_json_does_not_know_is_written_as_text(configure: Configure) -> None:
    """A line is never lost for one of its values."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    structlog.get_logger().info("odd", path=Path("/a"), great=2**70, error=OSError("no way"))
    assert '"great":' in stream.getvalue().replace('": ', '":')
    assert stream.objects[0]["path"] == "/a"
    assert stream.objects[0]["error"] == "no way"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", stream.objects[0]["timestamp"])


def test_on_a_terminal_lines_are_text_and_elsewhere_json(configure: Configure) -> None:
    """With ``auto``; the other two forms do as they say everywhere."""
    shown = {}
    for form, terminal in (("auto", True), ("auto", False), ("text", False), ("json", True)):
        stream = Stream(terminal=terminal)
        configure(level="info", form=form, stream=stream)
        structlog.get_logger().info("request", status=201)
        shown[form, terminal] = stream.getvalue()
    colours = re.compile(r"\x1b\[\d*m")
    plain = r"\S+Z \[info     \] request +status=201\n"
    assert re.fullmatch(plain, colours.sub("", shown["auto", True]))
    assert colours.search(shown["auto", True])
    assert re.fullmatch(plain, shown["text", False])
    assert shown["auto", False].startswith("{")
    assert shown["json", True].startswith("{")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_variables(form: str, configure: Configure) -> None:
    """They hold tokens and secrets."""
    stream = Stream()
    configure(level="info", form=form, stream=stream)
    secret = f"hunter{2}"  # a literal would stand in the traceback's line
    try:
        _fail(f"{len(secret)} characters")
    except OSError:
        structlog.get_logger().exception("request_failed")
    assert "Traceback" in stream.getvalue()
    assert "OSError: 7 characters" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_a_stream_that_takes_no_more_fails_nobody() -> None:
    """The reader of the log can go away; the service goes on."""
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    stream = os.fdopen(writing_end, "w")
    writer = logs.LineWriter(stream)
    writer.msg("lost")
    writer.msg("lost too")
    with suppress(BrokenPipeError):  # what it still holds
        stream.close()


@dataclass(frozen=True, slots=True)
class Process:
    """The service as a process of its own, with the file that its output goes to."""

    api: str
    ops: str
    output: Path


@asynccontextmanager
async def _serving(settings: Settings, output: Path) -> AsyncIterator[Process]:
    ports = unused_port(), unused_port()
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "KAFKA_TOPIC": settings.kafka_topic,
        "HOST": "127.0.0.1",
        "PORT": str(ports[0]),
        "OPS_PORT": str(ports[1]),
        "SHUTDOWN_DELAY": "0",
        "LOG_LEVEL": "debug",
    }
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", env=environment, stdout=file, stderr=file
        )
    api, ops = (f"http://127.0.0.1:{port}" for port in ports)
    try:
        await until(lambda: _ready(ops))
        yield Process(api, ops, output)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)


async def _ready(ops: str) -> bool:
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{ops}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


def _send_raw(api: str, request: bytes) -> bytes:
    """What a client sends that keeps to no rule, and its answer."""
    with socket.create_connection(("127.0.0.1", int(api.rpartition(":")[2])), timeout=5) as connection:
        connection.sendall(request)
        return connection.recv(65536)


async def test_no_secret_leaves_by_a_log_line_a_metric_an_event_or_the_audit(
    service: Service,
    topic: str,
    postgres: "asyncpg.Connection[asyncpg.Record]",
    tmp_path: Path,
) -> None:
    """A whole process at its most talkative; calls that succeed, calls that fail, calls that make no sense."""
    project = await make_project(service)
    token = await service.api.tokens.create("test", scopes=SCOPES)
    path = f"/api/0/projects/{project.organization.slug}/{project.slug}/keys/"
    chosen, wrong = "c" * 32, "sntryu_" + "d" * 64
    settings = replace(service.settings, kafka_topic=topic)
    bearer = {"Authorization": f"Bearer {token}"}
    async with (
        _serving(settings, tmp_path / "output") as process,
        aiohttp.ClientSession(process.api, headers=bearer) as client,
    ):
        statuses, bodies = [], []
        for body in ({}, {"secret": chosen}, {"secret": chosen}, {"secret": [chosen]}):
            async with client.post(path, json=body) as response:
                statuses.append(response.status)
                bodies.append(await response.json())
        async with client.post(path, data=f'{{"secret": "{chosen}"'.encode()) as response:
            statuses.append(response.status)
        async with client.get(path, headers={"Authorization": f"Bearer {wrong}"}) as response:
            statuses.append(response.status)
        assert statuses[:2] == [201, 201]
        assert [status // 100 for status in statuses[2:]] == [4] * 4
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}"
        for request in (
            f"{head}\x00\r\n\r\n",
            f"{head}\r\nBroken {token}\r\n\r\n",
            f"{head}{'e' * 9000}\r\n\r\n",
        ):
            answer = await asyncio.to_thread(_send_raw, process.api, request.encode())
            assert b" 400 Bad Request" in answer
        odd = b"GET /\xff%0a%1b[2J HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert b" 400 Bad Request" in await asyncio.to_thread(_send_raw, process.api, odd)
        async with reading(settings.kafka_bootstrap_servers[0], topic) as reader:
            records = await reader.count(2)
        async with aiohttp.ClientSession() as scraper, scraper.get(f"{process.ops}/metrics") as response:
            metrics = await response.text()
    log = process.output.read_text()
    rows = [
        str(dict(row))
        for table in ("audit_entry", "outbox", "api_token")
        for row in await postgres.fetch(f"SELECT * FROM {table}")  # noqa: S608 -- the names stand in the line above
    ]
    events = [f"{one.key} {one.value} {one.headers}" for one in records]
    assert 'status":201' in log
    assert "projectkeys_http_request_duration_seconds_count" in metrics
    everything = "\n".join([log, metrics, *rows, *events])
    for secret in (token, bodies[0]["secret"], chosen, wrong):
        assert secret not in everything
    assert all(line.startswith('{"timestamp"') for line in log.replace('": ', '":').splitlines())
