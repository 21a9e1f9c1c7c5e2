"""The documentation: links, file names, code blocks and commands are valid."""

import json
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from service.cli.main import _MODULES, _parser
from testkit.clients.readers import TOOLS, documented_readers
from testkit.documentation import SHELL, code_blocks, projectkeys_commands
from testkit.processes import ROOT

PAGES: Final = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "deploy/*.md", "kit/*.md", "faults/*.md", "tests/*/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"  # it speaks of former releases
)
_DIRECTORIES: Final = (
    "service",
    "tests",
    "testkit",
    "kit",
    "bench",
    "faults",
    "deploy",
    "docs",
    "scripts",
    "requirements",
)

_COMMANDS: Final = ("serve", "publish", "edge", "dev", "migrate", "token", "org", "events", "audit", "config")


def _name(value: Any) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


each_page = pytest.mark.parametrize("page", PAGES, ids=_name)


def _prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Pictures included."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


@each_page
def test_every_file_name_in_the_text_exists(page: Path) -> None:
    """Names in backticks that begin with a directory of the repository."""
    own = {block.file for block in code_blocks(page)}
    names = re.findall(rf"`((?:{'|'.join(_DIRECTORIES)})/[\w./-]*)`", _prose(page))
    exempt = {"service/postgres/migrations/NNNN_name.sql"}  # a pattern
    missing = [name for name in names if name not in own | exempt and not (ROOT / name).exists()]
    assert missing == []


@each_page
def test_every_make_target_exists(page: Path) -> None:
    """In code blocks and in backticks."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = [block.text for block in code_blocks(page) if block.language in SHELL]
    named = re.findall(r"^(?:\$ |[A-Z_]+=\S+ )*make ([a-z-]+)", "\n".join(code), re.MULTILINE)
    named += re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", _prose(page))
    assert [name for name in named if name not in targets] == []


@each_page
def test_every_code_block_is_valid_in_its_language(page: Path) -> None:
    """JSON is parsed, Python is compiled, and every other block has a known language."""
    for block in code_blocks(page):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            compile(block.text, f"{page.name}:{block.line}", "exec")
    known = {
        *SHELL,
        "json",
        "python",
        "sql",
        "properties",
        "javascript",
        "java",
        "xml",
        "go",
        "rust",
        "toml",
        "yaml",
        "hcl",
        "nginx",
        "caddyfile",
        "haproxy",
        "lua",
    }
    assert {block.language for block in code_blocks(page)} <= known


def test_the_readme_is_short() -> None:
    """A new user reads it in a few minutes; the rest is in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_readers_in_the_documentation_can_be_extracted() -> None:
    """`make clients` builds and runs them."""
    readers = documented_readers()
    assert [reader.language for reader in readers] == list(TOOLS)
    assert all(reader.files and reader.commands and reader.program for reader in readers)


@each_page
def test_the_command_line_accepts_every_documented_command(page: Path) -> None:
    """Those in blocks with all their arguments; of those in the text, the subcommand and the options."""
    for block in code_blocks(page):
        if block.language in SHELL:
            for words in projectkeys_commands(block.text):
                _parser().parse_args(words)
    for code in re.findall(rf"`(?:projectkeys )?((?:{'|'.join(_COMMANDS)})(?: [^`]*)?)`", _prose(page)):
        words = [word for word in shlex.split(code) if not word.startswith("--")]
        options = [word for word in shlex.split(code) if word.startswith("--")]
        assert all(option in _help_text(words) for option in options), code


def test_the_module_of_each_command_declares_it() -> None:
    """Only that module is imported to run the command."""
    declared = {command for names in _MODULES.values() for command in names}
    for command in declared:
        with pytest.raises(SystemExit) as ended:
            _parser(command).parse_args([command, "--help"])
        assert ended.value.code == 0
    assert declared == set(_subcommands(_parser()))


def _subcommands(parser: ArgumentParser) -> Mapping[str, ArgumentParser]:
    return next((each.choices for each in parser._actions if isinstance(each.choices, dict)), {})


def _help_text(words: Sequence[str]) -> str:
    """Return the help text of the subcommand that the first words name."""
    parser = _parser()
    for word in words:
        subcommands = _subcommands(parser)
        if not subcommands:
            break
        assert word in subcommands, f"projectkeys {' '.join(words)}: there is no such command"
        parser = subcommands[word]
    return parser.format_help()
