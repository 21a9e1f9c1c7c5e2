"""Log lines, as JSON or as text; written by a thread in batches, so that requests do not wait for the stream."""

import asyncio
import atexit
import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, ClassVar, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from service.json_text import dump_json

_FLUSH_AFTER: Final = 0.05
"""Seconds for which an event may be buffered; one write per line costs as much as a fifth of a request."""

_MAX_BUFFERED: Final = 500
"""The number of buffered events at which they are passed to the thread that writes."""

_MAX_UNWRITTEN: Final = 2**22
"""Characters that the thread has not written, at which further lines are dropped: about 15 000 lines of requests."""

_DRAIN_TIMEOUT: Final = 1.0
"""Seconds to wait for the thread at the end of the process."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Characters that start a line, control a terminal or cannot be encoded."""


class LineWriter:
    """Buffers log events; a thread writes them together, so that a stream that blocks does not block the event loop.

    Args:
        stream: The stream to write to.
        render: Returns the line of an event. It is called when the buffer is passed on, since rendering many events
            in a row is much faster than rendering each when it is logged.
    """

    dropped: ClassVar[int] = 0
    """The number of lines that were dropped in this process."""

    def __init__(self, stream: TextIO, render: Callable[[Any], str] = str) -> None:
        self._stream = stream
        self._render = render
        self._buffer: list[object] = []
        self._timer: asyncio.TimerHandle | None = None
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._unwritten = 0
        self._is_written = threading.Condition()
        self._thread: threading.Thread | None = None
        self._unreported = 0

    def msg(self, event: object) -> None:
        """Buffer an event; outside of an event loop, wait until it is written."""
        self._buffer.append(event)
        if len(self._buffer) >= _MAX_BUFFERED:
            self._pass_on()
        elif self._timer is None:
            self._set_timer()
            if self._timer is None:
                self.flush()

    # structlog calls the method named for the level.
    debug = info = warning = error = critical = exception = msg

    def flush(self) -> None:
        """Wait until the buffer is written, at most a second."""
        self._pass_on()
        with self._is_written:
            self._is_written.wait_for(lambda: self._unwritten == 0, _DRAIN_TIMEOUT)

    def _pass_on(self) -> None:
        """Pass the buffer to the thread, or drop it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unreported and not self._unwritten:
            count, self._unreported = self._unreported, 0
            structlog.get_logger().warning("log_lines_dropped", lines=count)
        events, self._buffer = self._buffer, []
        if self._unwritten >= _MAX_UNWRITTEN:
            LineWriter.dropped += len(events)
            self._unreported += len(events)
        else:
            self._write(events)
        if self._unreported:
            self._set_timer()

    def _set_timer(self) -> None:
        with suppress(RuntimeError):  # no event loop
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self._pass_on)

    def _write(self, events: list[object]) -> None:
        """Pass events to the thread, which is started for the first ones."""
        if not events:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()
        text = "\n".join([self._render(event) for event in events]) + "\n"
        with self._is_written:
            self._unwritten += len(text)
        self._queue.put(text)

    def _write_all(self) -> None:
        """Write what is passed on, for ever; errors of the stream are ignored, so that no request fails."""
        while True:
            text = self._queue.get()
            with suppress(OSError, ValueError):  # the latter: it is closed
                self._stream.write(text)
                self._stream.flush()
            with self._is_written:
                self._unwritten -= len(text)
                self._is_written.notify_all()


class _StandardError(io.TextIOBase):
    """Standard error without the buffer of `sys.stderr`, whose lock would block the end of the process too."""

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return sys.stderr.isatty()

    def write(self, text: str) -> int:
        """Write ``text``; wait for the reader."""
        left = text.encode(errors="backslashreplace")
        while left:
            left = left[os.write(sys.stderr.fileno(), left) :]
        return len(text)


class _ToStructlog(logging.Handler):
    """Passes the log records of libraries to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log ``record`` with the name of its logger."""
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure(*, level: str, form: str, stream: TextIO | None = None) -> LineWriter:
    """Configure the log of the process.

    Args:
        level: The lowest level that is logged, such as ``info``.
        form: ``json``, ``text``, or ``auto``: text on a terminal, otherwise JSON.
        stream: The stream to write to; None is standard error.

    Returns:
        The writer, which the caller flushes before the process ends.
    """
    stream = stream or cast("TextIO", _StandardError())
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
        # If the library rich is installed, the default shows the variables of every frame, which can contain tokens.
        structlog.dev.ConsoleRenderer(
            colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


_Event = tuple[float, str, str | None, dict[str, Any]]
"""Unix time in seconds, level, event name and values."""


class _ToJson:
    """Passes events to the writer without running structlog's processors, which would take time in each request.

    `structlog.BoundLoggerBase` calls `_proxy_to_logger` for every event.
    """

    _logger: LineWriter

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **values: Any) -> None:
        if "exc_info" in values:
            structlog.processors.format_exc_info(self._logger, method_name, values)
        self._logger.msg((time.time(), method_name, event, values))


def _json_logger(level: int) -> type:
    """Return a logger class for ``level`` and above; `info`, which logs requests, has a shorter path."""

    def info(self: _ToJson, event: str, *args: object, **values: Any) -> None:
        if args or "exc_info" in values:
            self._proxy_to_logger("info", event % args if args else event, **values)
        else:
            self._logger.msg((time.time(), "info", event, values))

    methods = {"info": info} if level <= logging.INFO else {}
    return type("JsonLogger", (_ToJson, structlog.make_filtering_bound_logger(level)), methods)


@lru_cache(maxsize=1)  # most lines are of the second of the line before
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def _json_line(event: _Event) -> str:
    seconds, level, name, values = event
    time_text = f"{_second_text(int(seconds))}.{int(seconds % 1 * 1e6):06d}Z"
    text = dump_json({"timestamp": time_text, "level": level, "event": name, **values}, default=str).decode()
    if text.isascii() and "\x7f" not in text:  # the usual case, which is fast to recognize
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape values: clients choose paths and names, which must not start a line or control the terminal."""
    return {
        name: _UNPRINTABLE.sub(_escaped, value) if isinstance(value, str) else value for name, value in event.items()
    }


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
