"""A measurement in a process of its own: reads its plan and prints its result, both as JSON."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
import uvloop

from bench.load_client import ResponseError

Plan = TypeVar("Plan")


def run(
    plan_class: Callable[..., Plan],
    measure: Callable[[Plan], Coroutine[Any, Any, object]],
    *,
    failures: tuple[type[Exception], ...] = (ResponseError, OSError),  # TimeoutError is an OSError
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop,
) -> int:
    """Run the measurement; return the exit status: 1 if it failed, with the reason on standard error.

    Args:
        plan_class: Creates the plan from the members of the JSON object.
        measure: Returns the result, a dataclass.
        failures: The exceptions that are reported as failures; others propagate.
        loop_factory: Creates the event loop; None for asyncio's.
    """
    plan = plan_class(**orjson.loads(sys.stdin.buffer.read()))
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            result = runner.run(measure(plan))
    except failures as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(orjson.dumps(result).decode())
    return 0
