"""What the service still does when far more is asked of it than it can do."""

from collections.abc import Mapping, Sequence
from typing import Final

from bench import overload
from bench.figures import ratios
from bench.processes import result_of
from bench.report import Goal, Row
from bench.stage import Stage
from service.settings import Settings

_AT_THE_PEAK: Final = 64  # connections
_ROOM: Final = Settings().max_requests
_CROWDS: Final = (1, 2, 10)
"""As many times the requests that the service answers at a time, each sent again at once when refused."""

_PATIENCE: Final = 80.0


async def measure(stage: Stage, seconds: int) -> Mapping[str, float]:
    """The peak, then crowds of once, twice and ten times the requests that are answered at a time."""
    found: dict[str, float] = {}
    crowds = {"peak": _AT_THE_PEAK} | {f"{times} x": times * _ROOM for times in _CROWDS}
    for name, connections in crowds.items():
        plan = overload.Plan(stage.subject.port, stage.requests.create, 201, connections, seconds)
        seen = overload.Overload(**await result_of("bench.overload", plan, limit=seconds + _PATIENCE))
        await stage.subject.drained()
        found |= {name: seen.good, f"{name} p99": seen.good_p99, f"{name} refused": seen.refused}
    return found


def rows(rounds: Sequence[Sequence[Mapping[str, float]]]) -> list[Row]:
    """The lines of the table."""

    def of(name: str) -> list[float]:
        return [figures[name] for (figures,) in rounds]

    lines = [Row(f"POST key, a second, {_AT_THE_PEAK} connections", of("peak"))]
    for name in (f"{times} x" for times in _CROWDS):
        lines += [
            Row(f"  {name} {_ROOM} connections", of(name), ratios(of(name), of("peak")), Goal(0.8)),
            Row("    refused a second", of(f"{name} refused")),
            Row("    the accepted ones' p99, s", of(f"{name} p99"), goal=Goal(10, at_least=False)),
        ]
    return lines
