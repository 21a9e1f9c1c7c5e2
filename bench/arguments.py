"""Arguments that several commands of this package share."""

import argparse
from pathlib import Path

from bench.results import DIRECTORY


def positive(text: str) -> int:
    """Return the positive integer of an argument."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number of at least 1")
    return int(text)


def add_json_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add `--json FILE`; the default is the file ``name`` in the directory of results."""
    file = DIRECTORY / name
    parser.add_argument(
        "--json", type=Path, default=file, metavar="FILE", help=f"where to write the results (default {file})"
    )
