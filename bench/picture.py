"""The picture of a run: a bar for the service and for each baseline, with the range of the rounds."""

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from bench.calculations import spread
from bench.report import Row, number
from bench.results import Results

_GROUPS: Final = ("POST key, per second", "PUT key, per second", "GET key, per second")
"""Labels of rows of the service; their baselines follow them in the table."""

_WIDTH: Final = 860
_LABELS: Final = 330
_BARS: Final = 380
_LINE: Final = 26
_HEAD: Final = 40
_STYLE: Final = """\
  <style>
    text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .note { fill: #57606a }
    .service { fill: #0969da } .baseline { fill: #8c959f } .range { stroke: #24292f }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .note { fill: #9198a1 } .service { fill: #4493f8 } .baseline { fill: #656c76 }
      .range { stroke: #e6edf3 }
    }
  </style>"""


def picture(results: Results) -> str:
    """Return the SVG document of the groups that were measured."""
    lines, top = list[str](), 8
    for group in _groups(results.rows):
        lines += _bars(group, top)
        top += _HEAD + _LINE * len(group)
    note = f"{results.date}; {results.size}; medians, with the range of the rounds"
    lines.append(f'  <text class="note" x="0" y="{top + 16}">{escape(note)}</text>')
    height = top + 28
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">'
    title = "  <title>Requests per second of the service and of its baselines</title>"
    return "\n".join([head, title, _STYLE, *lines, "</svg>\n"])


def _groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the row of the service and those of its baselines."""
    for first, row in enumerate(rows):
        if row.label in _GROUPS:
            group = [row]
            for baseline in rows[first + 1 :]:
                if not baseline.label.startswith(" "):
                    break
                group.append(baseline)
            yield group


def _bars(group: Sequence[Row], top: int) -> Iterator[str]:
    scale = _BARS / max(spread(row.values).maximum for row in group)
    yield f'  <text class="title" x="0" y="{top + 20}">{escape(group[0].label)}</text>'
    for position, row in enumerate(group):
        values, y = spread(row.values), top + 32 + position * _LINE
        label = "the service" if position == 0 else row.label.strip()
        kind, middle = "baseline" if position else "service", y + 9
        low, high = (round(_LABELS + scale * value, 1) for value in (values.minimum, values.maximum))
        yield f'  <text x="0" y="{y + 13}">{escape(label)}</text>'
        yield f'  <rect class="{kind}" x="{_LABELS}" y="{y}" width="{scale * values.median:.1f}" height="18" rx="2"/>'
        yield f'  <line class="range" x1="{low}" y1="{middle}" x2="{high}" y2="{middle}"/>'
        yield f'  <text x="{high + 8:.1f}" y="{y + 13}">{number(values.median)}</text>'
