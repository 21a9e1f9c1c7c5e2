"""Progress of a command: a bar on a terminal, otherwise a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_LINE_INTERVAL: Final = 10.0
"""Seconds between two lines."""

_BAR_WIDTH: Final = 30


class Progress:
    """Shows the progress of a named step on standard error; ``clock`` returns monotonic seconds."""

    def __init__(
        self, step: str, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._step = step
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started_at = clock()
        self._next_line_at = self._started_at + _LINE_INTERVAL
        self._width = 0

    def show(self, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` items are processed; ``total`` is None if it is unknown."""
        if self._stream.isatty():
            self._draw(self._text(done, total, bar=True))
        elif self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + _LINE_INTERVAL
            print(self._text(done, total, bar=False), file=self._stream, flush=True)

    def end(self) -> None:
        """Erase the bar."""
        if self._width:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()

    def _draw(self, text: str) -> None:
        self._width = max(self._width, len(text))
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()

    def _text(self, done: int, total: int | None, *, bar: bool) -> str:
        seconds = max(self._clock() - self._started_at, 1e-9)
        rate = f"{done / seconds:,.0f}/s"
        if not total:
            return f"{self._step}: {done:,}, {rate}"
        share = min(1.0, done / total)
        filled = f" [{'#' * int(share * _BAR_WIDTH):.<{_BAR_WIDTH}}]" if bar else ":"
        left = f", {max(0, total - done) * seconds / done:,.0f} s left" if done else ""
        return f"{self._step}{filled} {share:.0%}, {done:,} of {total:,}, {rate}{left}"


@contextmanager
def progress_of(step: str) -> Iterator[Callable[[int, int], None]]:
    """Return the function that shows the progress of ``step``; the bar is erased at the end of the block."""
    progress = Progress(step)
    try:
        yield progress.show
    finally:
        progress.end()
