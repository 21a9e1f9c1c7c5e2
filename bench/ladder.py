"""The processor time of a request by part of the program, from a profile of the event loop."""

import cProfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

_PARTS: Final = (
    ("aiohttp: parser, request, writer", ("/aiohttp/", "/multidict/", "/yarl/", "/propcache/")),
    ("connections, routes, headers", ("/service/http/server/",)),
    ("checks, handlers, serialization", ("/service/http/",)),
    ("marshmallow", ("/marshmallow/",)),
    ("use cases and domain", ("/service/usecases/", "/service/domain/")),
    ("batches and caches", ("/service/concurrency/",)),
    ("statements and asyncpg", ("/service/postgres/", "/asyncpg/")),
    ("publisher", ("/service/publisher/",)),
    ("records and aiokafka", ("/service/kafka/", "/aiokafka/")),
    ("log and metrics", ("/service/logs.py", "/service/metrics.py", "/structlog/", "/prometheus_client/")),
)
"""Parts with the parts of the paths of their files; the first match decides."""

_LIBRARY: Final = "standard library and others"
_OUTSIDE: Final = "event loop and kernel"


@dataclass(slots=True)
class Step:
    """A row of the ladder: a part, its calls of Python and of C functions, and its time, all per request."""

    part: str
    python_calls: float = 0.0
    c_calls: float = 0.0
    microseconds: float = 0.0


def ladder(
    profile: cProfile.Profile, *, requests: int, profiled_seconds: float, request_seconds: float
) -> list[Step]:
    """Return the time and the calls of each part, the longest first.

    The share of a part is that of the profile, which makes parts with many calls appear longer than they are.

    Args:
        profile: A profile of the event loop.
        requests: The number of requests in it.
        profiled_seconds: The processor time of the process during the profile.
        request_seconds: The processor time of a request without a profile.
    """
    steps: dict[str, Step] = defaultdict(lambda: Step(""))
    shares: dict[str, float] = defaultdict(float)
    for entry in _functions(profile.getstats()):
        part = _part_of(entry.code)
        step = steps[part]
        builtins = [call for call in entry.calls or () if isinstance(call.code, str)]
        step.python_calls += entry.callcount / requests
        step.c_calls += sum(call.callcount for call in builtins) / requests
        shares[part] += entry.inlinetime + sum(call.inlinetime for call in builtins)
    shares[_OUTSIDE] = max(0.0, profiled_seconds - sum(shares.values()))
    total = sum(shares.values())
    found = [
        Step(part, steps[part].python_calls, steps[part].c_calls, share / total * request_seconds * 1e6)
        for part, share in shares.items()
    ]
    return sorted(found, key=lambda step: -step.microseconds)


def text(title: str, steps: Sequence[Step]) -> str:
    """Return the ladder as aligned lines with their sum."""
    python, c, time = (
        sum(step.python_calls for step in steps),
        sum(step.c_calls for step in steps),
        sum(step.microseconds for step in steps),
    )
    rows = [*steps, Step("sum", python, c, time)]
    lines = [f"{title:36}{'Python calls':>14}{'C calls':>10}{'µs':>8}"]
    lines += [f"  {row.part:34}{row.python_calls:14.1f}{row.c_calls:10.1f}{row.microseconds:8.1f}" for row in rows]
    return "\n".join(lines)


def _functions(entries: Iterable[Any]) -> list[Any]:
    """Return the entries of Python functions; those of C functions are counted for their callers."""
    return [entry for entry in entries if isinstance(entry.code, CodeType)]


def _part_of(code: CodeType) -> str:
    for part, paths in _PARTS:
        if any(path in code.co_filename for path in paths):
            return part
    return _LIBRARY
