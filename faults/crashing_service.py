"""The service with a step at which it crashes, as if its processor had stopped there.

`python -m faults.crashing_service STEP NUMBER serve`: STEP is one of `STEPS` or `LIFECYCLE_STEPS`; the process exits
when it reaches the step for the NUMBERth time.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from service.cli.main import main
from service.kafka.client import KafkaClient
from service.postgres.outbox import PostgresOutbox
from service.usecases import change_keys, create_key, expiry, rotate_key

EXIT_STATUS: Final = 86
"""The exit status of a crash."""

_SENT_AFTER: Final = 0.0005
"""Seconds after which the request is sent and the response has not arrived."""

Step = Callable[..., Awaitable[Any]]


class _Countdown:
    """Exits when the step is reached for the last time."""

    def __init__(self, remaining: int) -> None:
        self._remaining = remaining

    def is_last(self) -> bool:
        self._remaining -= 1
        return self._remaining == 0

    def before(self, step: Step) -> Step:
        async def crashing(*arguments: Any, **named: Any) -> Any:
            if self.is_last():
                os._exit(EXIT_STATUS)
            return await step(*arguments, **named)

        return crashing

    def after(self, step: Step) -> Step:
        async def crashing(*arguments: Any, **named: Any) -> Any:
            result = await step(*arguments, **named)
            if self.is_last():
                os._exit(EXIT_STATUS)
            return result

        return crashing

    def during(self, step: Step) -> Step:
        async def crashing(*arguments: Any, **named: Any) -> Any:
            if not self.is_last():
                return await step(*arguments, **named)
            running = asyncio.ensure_future(step(*arguments, **named))
            await asyncio.sleep(_SENT_AFTER)
            del running
            os._exit(EXIT_STATUS)

        return crashing


_Steps = Mapping[str, tuple[object, str, Callable[[_Countdown, Step], Step]]]

STEPS: Final[_Steps] = {
    "before-insert": (create_key, "insert_keys", _Countdown.before),
    "insert-sent": (create_key, "insert_keys", _Countdown.during),
    "after-commit": (create_key, "insert_keys", _Countdown.after),
    # An update or a deletion: one statement, as a create. E26 crashes between the statements of a transaction.
    "change-sent": (change_keys, "change_keys", _Countdown.during),
    "before-produce": (KafkaClient, "produce", _Countdown.before),
    "produce-sent": (KafkaClient, "produce", _Countdown.during),
    "acknowledged": (PostgresOutbox, "delete_published", _Countdown.before),
    "deleted": (PostgresOutbox, "delete_published", _Countdown.after),
}
"""Name of the step: module or class, function, and when the process exits."""

LIFECYCLE_STEPS: Final[_Steps] = {
    "expired-keys-read": (expiry, "change_keys", _Countdown.before),
    "expiry-sent": (expiry, "change_keys", _Countdown.during),
    "expiry-committed": (expiry, "change_keys", _Countdown.after),
    "old-key-locked": (rotate_key, "insert_keys", _Countdown.before),
    "successor-inserted": (rotate_key, "insert_keys", _Countdown.after),
    "old-key-changed": (rotate_key, "change_keys", _Countdown.after),
    "rotation-committed": (rotate_key.RotateKey, "execute", _Countdown.after),
}
"""The steps of an expiry and of a rotation, which is committed after the change of the old key."""


if __name__ == "__main__":
    owner, function, wrap = {**STEPS, **LIFECYCLE_STEPS}[sys.argv[1]]
    setattr(owner, function, wrap(_Countdown(int(sys.argv[2])), getattr(owner, function)))
    sys.argv[1:] = sys.argv[3:]
    sys.exit(main())
