"""The service with a wrong wall clock: `python -m faults.shifted_clock FILE serve`.

FILE contains the offset of the clock in seconds and is read at each call. The monotonic clock is not changed, as
when an administrator sets the clock.
"""

import datetime as dt
import sys
import time
from pathlib import Path
from typing import Any

_OFFSET_FILE = Path(sys.argv.pop(1))
_REAL_TIME = time.time
_REAL_DATETIME = dt.datetime


def _offset() -> float:
    return float(_OFFSET_FILE.read_text() or "0")


class _AnyDatetime(type):
    """Makes instances of the real class instances of the replacement."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL_DATETIME)


class _ShiftedDatetime(_REAL_DATETIME, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        """Return the shifted time."""
        return _REAL_DATETIME.now(tz) + dt.timedelta(seconds=_offset())

    @classmethod
    def fromisoformat(cls, date_string: str) -> Any:
        """Return a time of the real class, which orjson can write."""
        return _REAL_DATETIME.fromisoformat(date_string)

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Return a time of the real class."""
        return _REAL_DATETIME(*arguments, **named)


if __name__ == "__main__":
    time.time = lambda: _REAL_TIME() + _offset()
    dt.datetime = _ShiftedDatetime  # type: ignore[misc]  # -- replaces the class on purpose
    from service.cli.main import main

    sys.exit(main())
