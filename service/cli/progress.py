"""How far a command has come: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

_EVERY: Final = 10.0
"""Seconds between two plain lines."""

_WIDTH: Final = 30


class Progress:
    """Tells how far something has come, on standard error; ``what`` names it, ``clock`` tells the time in seconds."""

    def __init__(
        self, what: str, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._next_line = self._began + _EVERY
        self._longest = 0

    def show(self, done: int, total: int | None) -> None:
        """So many are done; ``total`` is how many there are, None where nobody knows."""
        if self._stream.isatty():
            self._draw(self._words(done, total, bar=True))
        elif self._clock() >= self._next_line:
            self._next_line = self._clock() + _EVERY
            print(self._words(done, total, bar=False), file=self._stream, flush=True)

    def end(self) -> None:
        """Take the bar away."""
        if self._longest:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()

    def _draw(self, text: str) -> None:
        self._longest = max(self._longest, len(text))
        self._stream.write("\r" + text.ljust(self._longest))
        self._stream.flush()

    def _words(self, done: int, total: int | None, *, bar: bool) -> str:
        seconds = max(self._clock() - self._began, 1e-9)
        pace = f"{done / seconds:,.0f}/s"
        if not total:
            return f"{self._what}: {done:,}, {pace}"
        share = min(1.0, done / total)
        drawn = f" [{'#' * int(share * _WIDTH):.<{_WIDTH}}]" if bar else ":"
        left = f", {max(0, total - done) * seconds / done:,.0f} s left" if done else ""
        return f"{self._what}{drawn} {share:.0%}, {done:,} of {total:,}, {pace}{left}"
