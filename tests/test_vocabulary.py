"""Names and texts use technical terms: colloquial words and metaphors that have a precise term are forbidden."""

import re
from typing import Final

from tests.source_files import source_texts

_PATHS: Final = (
    *("service", "tests", "testkit", "kit", "bench", "faults", "docs", "deploy"),
    *(
        "scripts",
        "requirements",
        "Makefile",
        "pyproject.toml",
        "schema.sql",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ),
)
_VENDORED: Final = "service/http/docs/swagger_ui/"

# Each word has one letter in brackets, so that the pattern does not match itself.
_WORDS: Final = re.compile(
    r"\b(t[e]ll|t[e]lls|t[o]ld|t[e]lling|h[e]ard|wh[o]ever|s[o]mebody|n[o]body|an[e]w|overt[a]ken|m[o]ment"
    r"|l[e]t in|g[i]ven back|[o]n (its|their) way|(is|are|was) aw[a]y)\b",
    re.IGNORECASE,
)

_ALLOWED: Final = {
    "faults/standby.py": (2, "the name of an account of every Linux"),
    "kit/projectkeys_servers/postgres.py": (1, "the name of an account of every Linux"),
    "kit/projectkeys_servers/process.py": (1, "a method of Python's files"),
    "CHANGELOG.md": (2, "former public names"),
    "tests/released_schemas/0.1.0/headers.1.json": (1, "a released schema is never changed"),
}
"""The number of lines of a file that contain such words, and the reason."""

_MAX_ALLOWED: Final = 40

_UNFINISHED: Final = ("tests/test_",)
"""Prefixes of paths that have not been revised yet; remove an entry when its last such word is gone."""


def _lines_with_words() -> dict[str, list[str]]:
    """Return the lines with forbidden words by path."""
    found = {
        name: [f"{number}: {line}" for number, line in enumerate(text.splitlines(), 1) if _WORDS.search(line)]
        for name, text in source_texts(*_PATHS).items()
        if not name.startswith(_VENDORED)
    }
    return {name: lines for name, lines in found.items() if lines}


def test_forbidden_words_occur_only_where_they_are_allowed() -> None:
    """Replace the word by the term that the PostgreSQL and Kubernetes manuals use, or add the file with a reason."""
    found = {name: lines for name, lines in _lines_with_words().items() if not name.startswith(_UNFINISHED)}
    assert {name: lines for name, lines in found.items() if name not in _ALLOWED} == {}
    assert {name: len(lines) for name, lines in found.items()} == {
        name: count for name, (count, _) in _ALLOWED.items()
    }
    assert sum(count for count, _ in _ALLOWED.values()) <= _MAX_ALLOWED


def test_every_unfinished_path_still_contains_forbidden_words() -> None:
    """An entry without them must be removed, so that the words cannot return."""
    found = _lines_with_words()
    assert [prefix for prefix in _UNFINISHED if not any(name.startswith(prefix) for name in found)] == []


def test_the_pattern_detects_forbidden_words() -> None:
    """Upper case counts; a word that only contains one does not."""
    assert _WORDS.search("N" + "obody reads")
    assert _WORDS.search("the record is on its" + " way")
    assert not _WORDS.search("momentum, always, intellect")
