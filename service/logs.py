"""Log lines: JSON for machines, readable on a terminal; written in batches, off the requests' way."""

import asyncio
import atexit
import json
import logging
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

_FLUSH_AFTER: Final = 0.05
"""Seconds that a line may wait; a write for each line costs as much as a fifth of a request."""

_MOST_BUFFERED: Final = 500
"""Lines after which nothing waits any longer."""

_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""What begins a line, moves a terminal's cursor or cannot be encoded."""


class LineWriter:
    """Gathers lines and writes them together."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def msg(self, line: str) -> None:
        """Take a line; outside an event loop it is written at once."""
        self._lines.append(line)
        if len(self._lines) >= _MOST_BUFFERED:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)
            except RuntimeError:
                self.flush()

    # structlog calls the method named for the level.
    debug = info = warning = error = critical = exception = msg

    def flush(self) -> None:
        """Write what has been gathered; a stream that takes no more fails nobody's request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            with suppress(OSError):
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()


class _ToStructlog(logging.Handler):
    """Gives the lines of libraries the form of our own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log ``record`` with its logger's name."""
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure(*, level: str, form: str, stream: TextIO | None = None) -> LineWriter:
    """Set up the process's log.

    Args:
        level: the lowest level that is written, ``info`` or the like.
        form: ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere.
        stream: where lines go; None is standard error.

    Returns:
        The writer, to be flushed at the end.
    """
    stream = stream or sys.stderr
    text = form == "text" or (form == "auto" and stream.isatty())
    writer = LineWriter(stream)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=_text_processors(colors=stream.isatty()) if text else [_json_line],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=max(number, logging.WARNING), force=True)
    atexit.register(writer.flush)
    return writer


def _text_processors(*, colors: bool) -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _escape,
        # The default, where the library rich is installed, shows the variables of every frame: tokens among them.
        structlog.dev.ConsoleRenderer(
            colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _json_line(logger: object, method: str, event: EventDict) -> str:
    # One step instead of four: each request pays for its line.
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    level = "error" if method == "exception" else method
    moment = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    line = {"timestamp": moment, "level": level, "event": event.pop("event", None), **event}
    try:
        text = orjson.dumps(line, default=str).decode()
    except TypeError:  # half of a character, a number of more than 64 bits: paths can hold the first
        text = json.dumps(line, default=str)
    if text.isascii() and "\x7f" not in text:  # nearly always, and quick to see
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Callers choose paths and names: none of them may write a line of its own or steer the terminal."""
    return {
        name: _UNPRINTABLE.sub(_escaped, value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
