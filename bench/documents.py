"""`python -m bench.documents`: write the results of the last runs into docs/performance.md, with a picture.

The results are copied to docs/performance.json, from which the page and the picture are generated.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.capacity import Demand, costs_of, markdown
from bench.picture import picture
from bench.report import markdown_table
from bench.results import DIRECTORY, STORED, Results, read_results, read_stored, write_results

PAGE: Final = STORED.with_suffix(".md")
PICTURE: Final = STORED.with_suffix(".svg")
_FILES: Final = {"bench": DIRECTORY / "bench.json", "scale": DIRECTORY / "bench-scale.json"}


def page(text: str, stored: Mapping[str, Results]) -> str:
    """Return the text of the page with its generated sections replaced; a section without results stays as it is."""
    sections = {name: _section(results) for name, results in stored.items()}
    sections["capacity"] = markdown(Demand(), costs_of(stored))

    def section(found: re.Match[str]) -> str:
        name = found[2]
        return f"{found[1]}\n{sections[name]}\n{found[3]}" if name in sections else found[0]

    pattern = r"(<!-- generated: (\w+) .*?-->)\n.*?(<!-- end -->)"
    return re.sub(pattern, section, text, flags=re.DOTALL)


def _section(results: Results) -> str:
    return f"{results.date}; {results.size}. {results.machine}.\n\n{markdown_table(results.rows)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Update the three files."""
    parser = argparse.ArgumentParser(prog="python -m bench.documents", description=(__doc__ or "").partition("\n")[0])
    for name, file in _FILES.items():
        parser.add_argument(
            f"--{name}",
            type=Path,
            default=file,
            metavar="FILE",
            help=f"results to store if it exists (default {file})",
        )
    options = vars(parser.parse_args(arguments))
    stored = read_stored() | {name: read_results(options[name]) for name in _FILES if options[name].exists()}
    write_results(STORED, stored)
    PAGE.write_text(page(PAGE.read_text(), stored))
    PICTURE.write_text(picture(stored["bench"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
