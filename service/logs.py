"""Log lines: JSON for machines, readable on a terminal; written in batches, off the requests' way."""

import asyncio
import atexit
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TextIO

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
    """Gathers lines and writes them together.

    Args:
        stream: where to.
        form: makes a line of what was taken, when it is written: many in a row cost far less than as many alone.
    """

    def __init__(self, stream: TextIO, form: Callable[[Any], str] = str) -> None:
        self._stream = stream
        self._form = form
        self._taken: list[object] = []
        self._timer: asyncio.TimerHandle | None = None

    def msg(self, line: object) -> None:
        """Take a line, or what makes one; outside an event loop it is written at once."""
        self._taken.append(line)
        if len(self._taken) >= _MOST_BUFFERED:
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
        taken, self._taken = self._taken, []
        if taken:
            with suppress(OSError):
                self._stream.write("\n".join([self._form(one) for one in taken]) + "\n")
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
    writer = LineWriter(stream) if text else LineWriter(stream, _json_line)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=_text_processors(colors=stream.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(number) if text else _json_logger(number),
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


_Event = tuple[float, str, str | None, dict[str, Any]]
"""When (seconds since 1970), the level, the event and its values."""


class _ToJson:
    """Hands events to the writer as they are, past all processors: each request pays for its line.

    Rests on `structlog.BoundLoggerBase`, which calls this for every event.
    """

    _logger: LineWriter

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **values: Any) -> None:
        if "exc_info" in values:
            structlog.processors.format_exc_info(self._logger, method_name, values)
        self._logger.msg((time.time(), method_name, event, values))


def _json_logger(level: int) -> type:
    """Loggers of ``level`` and above that hand over events; that of requests, `info`, in a single step."""

    def info(self: _ToJson, event: str, *args: object, **values: Any) -> None:
        if args or "exc_info" in values:
            self._proxy_to_logger("info", event % args if args else event, **values)
        else:
            self._logger.msg((time.time(), "info", event, values))

    quick = {"info": info} if level <= logging.INFO else {}
    return type("JsonLogger", (_ToJson, structlog.make_filtering_bound_logger(level)), quick)


def _json_line(event: _Event) -> str:
    at, level, name, values = event
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    line = {"timestamp": moment, "level": level, "event": name, **values}
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
