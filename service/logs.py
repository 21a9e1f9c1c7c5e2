"""Log lines: JSON for machines, readable on a terminal; written in batches, off the requests' way."""

import asyncio
import atexit
import logging
import sys
from typing import Any, Final, TextIO

import orjson
import structlog

_FLUSH_AFTER: Final = 0.05
"""Seconds that a line may wait; a write for each line costs as much as a fifth of a request."""

_MOST_BUFFERED: Final = 500
"""Lines after which nothing waits any longer."""


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
        """Write what has been gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()


class _ToStructlog(logging.Handler):
    """Gives the lines of libraries the form of our own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log ``record`` with its logger's name."""
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure(*, level: str, form: str, stream: TextIO = sys.stderr) -> LineWriter:
    """Set up the process's log.

    Args:
        level: the lowest level that is written, ``info`` or the like.
        form: ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere.
        stream: where lines go.

    Returns:
        The writer, to be flushed at the end.
    """
    text = form == "text" or (form == "auto" and stream.isatty())
    writer = LineWriter(stream)
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if text else _json_line
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if text else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=max(number, logging.WARNING), force=True)
    atexit.register(writer.flush)
    return writer


def _json_line(_logger: object, _method: str, event: dict[str, Any]) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return orjson.dumps(first | event, default=str).decode()
