"""Reads the chart's values.yaml with the comment above each value."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from testkit.chart.helm import CHART

_FILE: Final = CHART / "values.yaml"


@dataclass(frozen=True)
class Value:
    """A value: its path with dots, its default, the comment above it, and whether the members below it are listed."""

    path: str
    default: Any
    description: str
    has_members: bool


def read_values() -> list[Value]:
    """Return every value in the order of the file, objects before their members."""
    text = _FILE.read_text()
    return list(_read(yaml.compose(text), text.splitlines(), ""))


def _read(mapping: Any, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, node in mapping.value:
        path = f"{prefix}{key.value}"
        has_members = isinstance(node, yaml.MappingNode) and not node.flow_style
        # Flow style is one value; members on lines of their own that no line describes are one value, too.
        described = has_members and any(_comment_above(lines, child.start_mark.line) for child, _ in node.value)
        comment = _comment_above(lines, key.start_mark.line)
        yield Value(path, _construct(node), comment, has_members=described)
        if described:
            yield from _read(node, lines, f"{path}.")


def _construct(node: Any) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _comment_above(lines: list[str], line: int) -> str:
    """Return the text of the comment lines directly above a line."""
    found: list[str] = []
    while line > 0 and (match := re.fullmatch(r" *# ?(.*)", lines[line - 1])):
        found.insert(0, match[1])
        line -= 1
    return " ".join(found)


def as_table(values: list[Value]) -> str:
    """Return the Markdown table of all values that are not only a group of others."""
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    groups = {value.path: value.description for value in values if value.has_members}
    for path, description in groups.items():
        if description:
            rows.append(f"| `{path}` | | {_cell(description)} |")
        rows += [
            f"| `{value.path}` | `{_yaml(value.default)}` | {_cell(value.description)} |"
            for value in values
            if not value.has_members and value.path.rpartition(".")[0] == path
        ]
    top = [value for value in values if not value.has_members and "." not in value.path]
    rows[2:2] = [f"| `{value.path}` | `{_yaml(value.default)}` | {_cell(value.description)} |" for value in top]
    return "\n".join(rows) + "\n"


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("\n...")
    return text if text != "''" else '""'


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
