"""The threat model names existing tests."""

import re

from testkit.processes import ROOT

_PAGE = ROOT / "docs" / "security.md"


def test_every_test_that_the_threat_model_names_exists() -> None:
    """A measure whose test was renamed would be unverified."""
    named = set(re.findall(r"`(test_\w+\.py)`", _PAGE.read_text()))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / "tests" / name).is_file()} == set()


def test_every_measure_names_what_verifies_it() -> None:
    """The last column of the table of threats is never empty."""
    table = _PAGE.read_text().partition("## Threats and measures")[2].partition("\n\nThe tests")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 20
    assert [row for row in rows if len(row) != 3 or not row[2].strip()] == []
