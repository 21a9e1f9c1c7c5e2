"""The log: one JSON object per line, or text on a terminal."""

import asyncio
import io
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from service import logs
from testkit.polling import poll_until


class Stream(io.StringIO):
    """A stream that counts its writes; ``terminal`` makes it a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.writes = 0
        self._terminal = terminal

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._terminal

    def write(self, text: str) -> int:
        """Write ``text``."""
        self.writes += 1
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        """The written lines."""
        return self.getvalue().splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines as JSON."""
        return [orjson.loads(line) for line in self.lines]


Configure = Callable[..., logs.LineWriter]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """The function that configures the log; the previous configuration is restored."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield logs.configure
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_line_is_a_json_object_with_time_level_and_event_first(configure: Configure) -> None:
    """The values follow in the given order; times are in UTC."""
    stream = Stream()
    writer = configure(level="info", form="json", stream=stream)
    structlog.get_logger().warning("shard_failed", shard=3, error="no way")
    writer.flush()
    [line] = stream.lines
    assert re.match(
        r'\{"timestamp":"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z","level":"warning","event":"shard_failed",', line
    )
    assert orjson.loads(line)["error"] == "no way"


async def test_lines_are_written_together_after_a_short_time(configure: Configure) -> None:
    """A burst takes one write, without a call of flush."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    for number in range(100):
        structlog.get_logger().info("request", number=number)
    assert stream.lines == []
    await poll_until(lambda: asyncio.sleep(0, result=stream.lines))
    assert stream.writes == 1
    assert [one["number"] for one in stream.objects] == list(range(100))


async def test_a_full_buffer_is_written_immediately(configure: Configure) -> None:
    """Without waiting for the timer."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    for _ in range(1200):
        structlog.get_logger().info("request")
    await poll_until(lambda: asyncio.sleep(0, result=len(stream.lines) == 1000))


def test_without_an_event_loop_a_line_is_written_immediately(configure: Configure) -> None:
    """Lines before and after the event loop are not lost."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    structlog.get_logger().info("too early")
    assert [one["event"] for one in stream.objects] == ["too early"]


def test_events_below_the_level_are_not_written(configure: Configure) -> None:
    """Neither those of the service nor those of libraries."""
    stream = Stream()
    configure(level="error", form="json", stream=stream)
    structlog.get_logger().warning("ours")
    logging.getLogger("some.library").warning("theirs")
    structlog.get_logger().error("bad")
    assert [one["event"] for one in stream.objects] == ["bad"]


def test_log_records_of_libraries_have_the_same_format(configure: Configure) -> None:
    """From level warning, with the name of the logger, the formatted arguments, and the traceback as a member."""
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
    "/lone surrogate \udcff",
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", _HOSTILE)
def test_no_value_can_start_a_line_or_control_the_terminal(form: str, text: str, configure: Configure) -> None:
    """Clients choose paths and names; each call writes exactly one printable line."""
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
    if form == "json" and "\udcff" not in text:  # orjson rejects lone surrogates
        assert orjson.loads(first)["path"] == orjson.loads(second)["event"] == text


def test_a_value_of_a_type_that_json_does_not_have_is_written_as_text(configure: Configure) -> None:
    """No value prevents the line from being written."""
    stream = Stream()
    configure(level="info", form="json", stream=stream)
    structlog.get_logger().info("odd", path=Path("/a"), great=2**70, error=OSError("no way"))
    assert '"great":' in stream.getvalue().replace('": ', '":')
    assert stream.objects[0]["path"] == "/a"
    assert stream.objects[0]["error"] == "no way"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", stream.objects[0]["timestamp"])


@pytest.mark.parametrize("level", ["info", "warning"])
@pytest.mark.parametrize("form", ["json", "text"])
def test_every_level_takes_arguments_and_errors(form: str, level: str, configure: Configure) -> None:
    """Also `info`, which has a shorter code path."""
    stream = Stream()
    configure(level="info", form=form, stream=stream)
    log = structlog.get_logger()
    getattr(log, level)("%d of %s", 3, "four")
    getattr(log, level)("failed", exc_info=OSError("no way"))
    assert "3 of four" in stream.getvalue()
    assert "OSError: no way" in stream.getvalue()


def test_auto_is_text_on_a_terminal_and_json_otherwise(configure: Configure) -> None:
    """The other two formats do not depend on the stream."""
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
    """Variables can contain tokens and secrets."""
    stream = Stream()
    configure(level="info", form=form, stream=stream)
    secret = f"hunter{2}"  # a literal would be in the line that the traceback shows
    try:
        _fail(f"{len(secret)} characters")
    except OSError:
        structlog.get_logger().exception("request_failed")
    assert "Traceback" in stream.getvalue()
    assert "OSError: 7 characters" in stream.getvalue()
    assert secret not in stream.getvalue()


async def test_a_stream_that_blocks_delays_nothing_and_lines_beyond_the_limit_are_dropped(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted, and their number is logged when the reader continues."""
    monkeypatch.setattr(logs, "_MAX_UNWRITTEN", 10_000)
    reader, blocked = os.pipe()
    configure(level="info", form="json", stream=os.fdopen(blocked, "w"))
    before, started = logs.LineWriter.dropped, time.monotonic()
    for _ in range(5):
        for number in range(1000):
            structlog.get_logger().info("request", number=number, text="x" * 100)
        await asyncio.sleep(0.01)
    assert time.monotonic() - started < 2
    dropped = logs.LineWriter.dropped - before
    assert dropped > 1000
    read = await asyncio.to_thread(_read_until, reader, b'"log_lines_dropped"')
    lines = [orjson.loads(line) for line in read.splitlines()]
    assert lines[-1]["lines"] == dropped
    assert len(lines) - 1 == 5000 - dropped


def _read_until(descriptor: int, words: bytes) -> bytes:
    """Read whole lines until one contains ``words``; lines that end the buffer make the writer continue."""
    read = b""
    while words not in read or not read.endswith(b"\n"):
        read += os.read(descriptor, 1_000_000)
    return read


def test_errors_of_the_stream_are_ignored() -> None:
    """The service continues when the reader of the log ends."""
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    stream = os.fdopen(writing_end, "w")
    writer = logs.LineWriter(stream)
    writer.msg("lost")
    writer.msg("lost too")
    with suppress(BrokenPipeError):  # of its own buffer
        stream.close()
