"""The page about performance shows the stored results, and the capacity model calculates with them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity import Costs, Demand, costs_of, needs
from bench.documents import PAGE, PICTURE, page
from bench.picture import picture
from bench.report import Goal, Row, markdown_table
from bench.results import Results, interpreter_build, read_results, read_stored, write_results
from bench.scale.loading import Sizes

_ROWS = [
    Row("POST key, per second", [100.0, 120.0, 110.0], costs={"server": [200.0], "postgres": [100.0]}),
    Row("  pgbench <a & b>", [200.0], ratios=[0.5], goal=Goal(0.6), cost_ratios=[0.4]),
    Row("PUT key, per second", [50.0], costs={"server": [400.0], "postgres": [300.0]}),
    Row("GET key, per second", [900.0], costs={"server": [50.0], "postgres": [10.0]}),
]
_RESULTS = Results("2026-01-31", "2 processors", "3 rounds of 1 s", _ROWS)
_COSTS = costs_of({"bench": _RESULTS})


def test_the_page_and_the_picture_are_generated_from_the_stored_results() -> None:
    """Run `make bench-docs` after a change of the results or of their presentation."""
    stored = read_stored()
    assert page(PAGE.read_text(), stored) == PAGE.read_text()
    assert picture(stored["bench"]) == PICTURE.read_text()


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Goals and costs included."""
    write_results(tmp_path / "new" / "results.json", _RESULTS)
    assert read_results(tmp_path / "new" / "results.json") == _RESULTS


def test_only_the_generated_sections_of_the_page_change() -> None:
    """A second generation changes nothing."""
    text = "before\n<!-- generated: bench by a command -->\nold\n<!-- end -->\nafter\n"
    new = page(text, {"bench": _RESULTS})
    assert new.startswith(
        "before\n<!-- generated: bench by a command -->\n2026-01-31; 3 rounds of 1 s. 2 processors."
    )
    assert new.endswith("|\n<!-- end -->\nafter\n")
    assert page(new, {"bench": _RESULTS}) == new


def test_the_markdown_table_has_only_columns_with_values() -> None:
    """Baselines are indented by spaces that Markdown keeps."""
    head, _, first, second = markdown_table(_ROWS[:2]).splitlines()
    assert head == (
        "| metric | median | min-max | ratio | min-max | goal | server µs | postgres µs | µs ratio | min-max |"
    )
    assert first == "| POST key, per second | 110 | 100-120 |  |  |  | 200 | 100 |  |  |"
    assert second.startswith("| \N{NO-BREAK SPACE}\N{NO-BREAK SPACE}pgbench <a & b> | 200 | 200-200 | 0.50 |")


def test_the_picture_has_a_bar_for_each_program() -> None:
    """Labels are escaped, and the longest bar is that of the greatest value."""
    drawn = picture(_RESULTS)
    assert drawn.count('class="service"') == 3
    assert drawn.count('class="baseline"') == 1
    assert "pgbench &lt;a &amp; b&gt;" in drawn
    assert 'class="baseline" x="330" y="66" width="380.0"' in drawn


def test_the_build_of_the_interpreter_is_named() -> None:
    """It changes each rate by a tenth and more."""
    assert interpreter_build("'--enable-shared'") == "without PGO, without LTO, with shared library"


def test_capacity_is_calculated_from_the_measured_costs() -> None:
    """Processor time per second, of which 0.7 of each processor is used."""
    demand = Demand(keys=1, creates=7000, updates=0, reads=1, relays=60, lookups=1000)
    found = {need.name: need.value for need in needs(demand, _COSTS)}
    assert found["look-ups at the edge"] == 1000
    assert found["processes of the edge"] == 1
    assert found["replicas of the service"] == 3  # 7000 * 200 µs / 0.7 are 2 processors; the read needs a third
    assert found["processors of the primary"] == 2  # 7000 * 100 µs / 0.7 are 1; the read needs a second
    assert found["creates that 16 processors of a primary allow"] == 112_000


def test_capacity_omits_what_was_not_measured() -> None:
    """No figure is assumed."""
    names = {need.name for need in needs(Demand(), _COSTS)}
    assert "table of keys with its indexes" not in names
    assert "table of keys with its indexes" in {
        need.name for need in needs(Demand(), replace(_COSTS, key_bytes=500.0))
    }


def test_capacity_grows_with_the_number_of_keys() -> None:
    """Ten times as many keys need ten times the space."""
    costs = Costs(1, 1, 1, 1, 1, 1, key_bytes=500.0)
    few, many = (
        {need.name: need.value for need in needs(Demand(keys=keys), costs)} for keys in (1_000_000, 10_000_000)
    )
    for name in ("table of keys with its indexes", "topic after compaction"):
        assert many[name] == pytest.approx(10 * few[name])


@pytest.mark.parametrize(
    "sizes",
    [Sizes(keys=1000, projects=11, large_project=100), Sizes(keys=10, projects=1, large_project=10)],
)
def test_loaded_keys_are_distributed_over_the_projects(sizes: Sizes) -> None:
    """The large project has as many as requested, the others share the rest."""
    found = Counter(sizes.project_of(number) for number in range(sizes.keys))
    assert found[0] == sizes.large_project
    assert len(found) == sizes.projects
