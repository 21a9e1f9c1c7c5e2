"""The service with a clock of its own: `python -m faults.jumping_clock FILE serve`.

FILE holds the seconds by which the clock is wrong, and is read each time the service looks at it. Time that only
measures how long something takes is the system's own, as it is where an administrator sets a clock.
"""

import datetime as dt
import sys
import time
from pathlib import Path
from typing import Any

_WRONG_BY = Path(sys.argv.pop(1))
_RIGHT_TIME = time.time
_RIGHT_DATETIME = dt.datetime


def _wrong_by() -> float:
    return float(_WRONG_BY.read_text() or "0")


class _AnyDatetime(type):
    """What the real class made is one of these too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RIGHT_DATETIME)


class _Jumping(_RIGHT_DATETIME, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        """Now, as the wrong clock has it."""
        return _RIGHT_DATETIME.now(tz) + dt.timedelta(seconds=_wrong_by())


if __name__ == "__main__":
    time.time = lambda: _RIGHT_TIME() + _wrong_by()
    dt.datetime = _Jumping  # type: ignore[misc]  # -- the point of it
    from service.cli.main import main

    sys.exit(main())
