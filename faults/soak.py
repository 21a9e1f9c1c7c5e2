"""`python -m faults.soak`: random faults for a long time, and the resource use of the replica that keeps running."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from faults.__main__ import main as run_experiments
from faults.experiments.e18_soak import INTERVAL

_DESCRIPTION: Final = """\
Causes a random fault every twenty seconds under load. Checks at the end that no change or event was lost, invented
or reordered, and that the resource use of the replica that kept running did not grow.
"""
_EPILOG: Final = """\
examples:
  make soak
  make soak MINUTES=5
  python -m faults.soak --minutes 120 --seed 7
"""
_MINUTE: Final = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return the exit code of `python -m faults`."""
    parser = argparse.ArgumentParser(
        prog="python -m faults.soak",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30, help="approximate duration (default: 30)")
    parser.add_argument("--seed", help="random seed (default: random)")
    options = parser.parse_args(arguments)
    rounds = max(1, round(options.minutes * _MINUTE / INTERVAL))
    seed = ["--seed", options.seed] if options.seed else []
    return run_experiments(["--only", "E18", "--rounds", str(rounds), *seed])


if __name__ == "__main__":
    sys.exit(main())
