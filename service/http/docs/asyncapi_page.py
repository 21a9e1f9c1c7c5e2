"""The AsyncAPI document as a page: plain HTML, which needs no script."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{style}">
</head>
<body>
<main>
<h1>{title}</h1>
<p>Version {version}. For machines: <a href="{document}">the AsyncAPI document</a>. \
Over HTTP: <a href="/docs">the API</a>.</p>
{words}
{channel}
{messages}
</main>
</body>
</html>
"""


def event_page(document: Mapping[str, Any], *, document_path: str, style_path: str) -> str:
    """The page.

    Args:
        document: what is shown.
        document_path: where it is.
        style_path: where the style sheet is.
    """
    info = document["info"]
    [channel] = document["channels"].values()
    return _PAGE.format(
        title=escape(info["title"]),
        style=escape(style_path),
        version=escape(info["version"]),
        document=escape(document_path),
        words=_prose(info["description"]),
        channel=_channel(channel),
        messages="\n".join(_message(one, document) for one in document["components"]["messages"].values()),
    )


def _prose(text: str) -> str:
    """Paragraphs and lists, as far as the document's texts use Markdown."""
    parts = []
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = "".join(f"<li>{_inline(line[2:])}</li>\n" for line in block.splitlines())
            parts.append(f"<ul>\n{items}</ul>")
        else:
            parts.append(f"<p>{_inline(block)}</p>")
    return "\n".join(parts)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _channel(channel: Mapping[str, Any]) -> str:
    kafka = channel["bindings"]["kafka"]
    rows = {"topic": kafka["topic"], "partitions": kafka["partitions"], **kafka["topicConfiguration"]}
    cells = "".join(_row(name, _value(value)) for name, value in rows.items())
    return f"<h2>The topic</h2>\n{_prose(channel['description'])}\n<table>\n{cells}</table>"


def _value(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _message(message: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    payload = message["payload"]
    if "$ref" in payload:
        payload = document["components"]["schemas"][payload["$ref"].rpartition("/")[2]]
    parts = [
        f'<section id="{escape(message["name"])}">',
        f"<h2><code>{escape(message['name'])}</code></h2>",
        _prose(message["description"]),
        _members("Headers", message["headers"]),
        _members("Value", payload),
        *(_example(one) for one in message["examples"]),
        "</section>",
    ]
    return "\n".join(parts)


def _members(title: str, schema: Mapping[str, Any]) -> str:
    rows = "".join(_row(name, *cells) for name, *cells in _flat(schema))
    if not rows:
        return f"<h3>{title}</h3>\n{_prose(schema['description'])}"
    return f"<h3>{title}</h3>\n<table>\n{_row('name', 'is', 'there', 'what', cell='th')}{rows}</table>"


def _flat(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, type, presence and description of each member; those of a member's own after it."""
    for name, member in schema.get("properties", {}).items():
        there = "always" if name in schema["required"] else "sometimes"
        form = json.dumps(member["const"]) if "const" in member else _value_of_type(member["type"])
        yield f"{prefix}{name}", form, there, member["description"]
        yield from _flat(member, f"{prefix}{name}.")


def _value_of_type(kind: str | list[str]) -> str:
    return kind if isinstance(kind, str) else " or ".join(kind)


def _row(name: str, *cells: str, cell: str = "td") -> str:
    rest = "".join(f"<{cell}>{_inline(text)}</{cell}>" for text in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{rest}</tr>\n'


def _example(example: Mapping[str, Any]) -> str:
    shown = {"headers": example["headers"], "value": example.get("payload")}
    return f"<h3>Example</h3>\n<pre>{escape(json.dumps(shown, indent=2, ensure_ascii=False))}</pre>"
