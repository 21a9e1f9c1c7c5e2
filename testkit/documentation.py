"""Extracts code blocks and commands from Markdown pages."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHELL: Final = ("sh", "console")
"""The languages of blocks of shell commands; in a console block, commands follow a dollar sign."""

_CAPTION: Final = re.compile(r"`([^`]+)`:")
"""A line that names the file of the code block below it."""


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced code block.

    Args:
        language: The word after the opening fence; empty if there is none.
        text: The lines between the fences, each with its newline.
        section: The heading above the block, without the number signs.
        file: The file name in the line above the block; empty if there is none.
        line: The line number of the opening fence.
    """

    language: str
    text: str
    section: str
    file: str
    line: int


def code_blocks(page: Path) -> list[CodeBlock]:
    """Return the code blocks of a page in their order."""
    blocks: list[CodeBlock] = []
    section, previous = "", ""
    lines = enumerate(page.read_text().splitlines(), start=1)
    for number, line in lines:
        if line.lstrip().startswith("```"):
            indent = line[: line.index("`")]
            content = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                content.append(inner.removeprefix(indent))
            text = "".join(f"{inner}\n" for inner in content)
            caption = _CAPTION.fullmatch(previous)
            blocks.append(CodeBlock(line.strip().strip("`"), text, section, caption[1] if caption else "", number))
        elif line.startswith("#"):
            section = line.lstrip("#").strip()
        previous = line or previous
    return blocks


def projectkeys_commands(text: str) -> list[list[str]]:
    """Return the arguments of each `projectkeys` command in shell commands, placeholders included."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|[;|]", line.removeprefix("$ ")):
            words = shlex.split(part, comments=True)
            programs = [word.rpartition("/")[2] for word in words]
            if "projectkeys" not in programs:
                continue
            index = programs.index("projectkeys")
            if "exec" in programs:  # kubectl exec POD -- projectkeys …
                found += [words[words.index("--") + 2 :]] if "--" in words else []
            elif all("=" in word for word in words[:index]):
                found.append(words[index + 1 :])
    return found
