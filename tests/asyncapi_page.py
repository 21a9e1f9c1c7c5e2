"""Generates the page of the AsyncAPI document: `python -m tests.asyncapi_page`."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from service.contract.asyncapi import asyncapi_document
from service.http.docs.asyncapi_page import DOCUMENT
from testkit.processes import ROOT

FILE: Final = ROOT / "service" / "http" / "docs" / "asyncapi_page.html"

# All links are relative, so that the page also works behind a proxy that adds a prefix to the paths.
_HTML: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="header.css">
<link rel="stylesheet" href="events.css">
</head>
<body>
<header class="site">
<a class="brand" href="../">projectkeys</a>
<nav aria-label="Main">
<a href="../docs">HTTP API</a>
<a href="../docs/events" aria-current="page">Kafka events</a>
<a href="..{url}">Download AsyncAPI (JSON)</a>
</nav>
</header>
<main>
<h1>{title}</h1>
<p>Version {version}</p>
<nav aria-label="Contents">
<ul>
{contents}
</ul>
</nav>
{description}
{channel}
{messages}
</main>
</body>
</html>
"""


def generated_page() -> str:
    """Return the page, in which ``$topic`` and ``$version`` are placeholders."""
    document = asyncapi_document("$topic")
    info = document["info"]
    [channel] = document["channels"].values()
    return _HTML.format(
        title=escape(info["title"]),
        version="$version",
        url=DOCUMENT,
        description=_markdown(info["description"]),
        channel=_channel(channel),
        contents="\n".join(
            f'<li><a href="#{escape(message["name"])}"><code>{escape(message["name"])}</code></a></li>'
            for message in document["components"]["messages"].values()
        ),
        messages="\n".join(_message(message, document) for message in document["components"]["messages"].values()),
    )


def _markdown(text: str) -> str:
    """Return the HTML of paragraphs, lists and inline code: the document's texts use no other Markdown."""
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = "".join(f"<li>{_inline(line[2:])}</li>\n" for line in block.splitlines())
            blocks.append(f"<ul>\n{items}</ul>")
        else:
            blocks.append(f"<p>{_inline(block)}</p>")
    return "\n".join(blocks)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _channel(channel: Mapping[str, Any]) -> str:
    kafka = channel["bindings"]["kafka"]
    rows = {"topic": kafka["topic"], "partitions": kafka["partitions"], **kafka["topicConfiguration"]}
    cells = "".join(_row(name, _text(value)) for name, value in rows.items())
    return f"<h2>Topic</h2>\n{_markdown(channel['description'])}\n<table>\n{cells}</table>"


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _message(message: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    payload = message["payload"]
    if "$ref" in payload:
        payload = document["components"]["schemas"][payload["$ref"].rpartition("/")[2]]
    parts = [
        f'<section id="{escape(message["name"])}">',
        f"<h2><code>{escape(message['name'])}</code></h2>",
        _markdown(message["description"]),
        _members("Headers", message["headers"]),
        _members("Value", payload),
        *map(_example, message["examples"]),
        "</section>",
    ]
    return "\n".join(parts)


def _members(title: str, schema: Mapping[str, Any]) -> str:
    rows = "".join(_row(name, *cells) for name, *cells in _iter_members(schema))
    if not rows:
        return f"<h3>{title}</h3>\n{_markdown(schema['description'])}"
    head = _row("Name", "Type", "Required", "Description", element="th")
    return f"<h3>{title}</h3>\n<table>\n{head}{rows}</table>"


def _iter_members(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, presence and description of each member, followed by its own members."""
    for name, member in schema.get("properties", {}).items():
        required = "yes" if name in schema["required"] else "no"
        type_ = json.dumps(member["const"]) if "const" in member else _types(member["type"])
        yield f"{prefix}{name}", type_, required, member["description"]
        yield from _iter_members(member, f"{prefix}{name}.")


def _types(type_: str | list[str]) -> str:
    return type_ if isinstance(type_, str) else " or ".join(type_)


def _row(name: str, *cells: str, element: str = "td") -> str:
    rest = "".join(f"<{element}>{_inline(text)}</{element}>" for text in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{rest}</tr>\n'


def _example(example: Mapping[str, Any]) -> str:
    record = {"headers": example["headers"], "value": example.get("payload")}
    return f"<h3>Example</h3>\n<pre tabindex=0>{escape(json.dumps(record, indent=2, ensure_ascii=False))}</pre>"


if __name__ == "__main__":
    FILE.write_text(generated_page())
