"""The service with a step at which it dies, as if its processor had stopped there.

`python -m faults.dying STEP NUMBER serve`: STEP is one of `STEPS`; it dies when it comes there for the NUMBERth time.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from service.cli.main import main
from service.kafka.client import KafkaClient
from service.postgres import outbox
from service.usecases import change_keys, create_key

DEATH: Final = 86
"""The exit status."""

_ON_THE_WIRE: Final = 0.0005
"""Seconds in which the bytes leave and the answer has not come."""

Step = Callable[..., Awaitable[Any]]


class _Reaper:
    """Counts down."""

    def __init__(self, left: int) -> None:
        self._left = left

    def due(self) -> bool:
        self._left -= 1
        return self._left == 0

    def before(self, step: Step) -> Step:
        async def dying(*arguments: Any, **named: Any) -> Any:
            if self.due():
                os._exit(DEATH)
            return await step(*arguments, **named)

        return dying

    def after(self, step: Step) -> Step:
        async def dying(*arguments: Any, **named: Any) -> Any:
            result = await step(*arguments, **named)
            if self.due():
                os._exit(DEATH)
            return result

        return dying

    def amid(self, step: Step) -> Step:
        async def dying(*arguments: Any, **named: Any) -> Any:
            if not self.due():
                return await step(*arguments, **named)
            under_way = asyncio.ensure_future(step(*arguments, **named))
            await asyncio.sleep(_ON_THE_WIRE)
            del under_way
            os._exit(DEATH)

        return dying


STEPS: Final[Mapping[str, tuple[object, str, Callable[[_Reaper, Step], Step]]]] = {
    "before-insert": (create_key, "insert_issued", _Reaper.before),
    "insert-on-its-way": (create_key, "insert_issued", _Reaper.amid),
    "after-commit": (create_key, "insert_issued", _Reaper.after),
    # The key has changed and its event is written; the audit entry and COMMIT are to come.
    "in-the-transaction": (change_keys, "insert_audit_entry", _Reaper.before),
    "before-send": (KafkaClient, "produce", _Reaper.before),
    "sent": (KafkaClient, "produce", _Reaper.amid),
    "acknowledged": (outbox, "delete_published", _Reaper.before),
    "deleted": (outbox, "delete_published", _Reaper.after),
}
"""By its name: whose function, which one, and when it dies."""


if __name__ == "__main__":
    place, function, when = STEPS[sys.argv[1]]
    setattr(place, function, when(_Reaper(int(sys.argv[2])), getattr(place, function)))
    sys.argv[1:] = sys.argv[3:]
    sys.exit(main())
