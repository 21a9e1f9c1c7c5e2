"""A measurement in a process of its own: reads its plan and prints what it found, both as JSON."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
import uvloop

from bench.client import AnswerError

Plan = TypeVar("Plan")


def run(
    plan_class: Callable[..., Plan],
    measure: Callable[[Plan], Coroutine[Any, Any, object]],
    *,
    failures: tuple[type[Exception], ...] = (AnswerError, OSError),  # a time-out is an OSError too
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop,
) -> int:
    """The exit status; 1 where the measurement failed, with the reason on standard error.

    Args:
        plan_class: makes the plan of its members.
        measure: finds what is to be printed, a dataclass.
        failures: what may go wrong.
        loop_factory: makes the event loop; None is asyncio's own.
    """
    plan = plan_class(**orjson.loads(sys.stdin.buffer.read()))
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            found = runner.run(measure(plan))
    except failures as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(orjson.dumps(found).decode())
    return 0
