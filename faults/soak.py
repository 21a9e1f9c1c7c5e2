"""`python -m faults.soak`: random faults for a long time, and what the process that lives through them needs then."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from faults.__main__ import main as run_experiments
from faults.experiments.e18_soak import EVERY

_DESCRIPTION: Final = """\
Harms the service by a fault chosen at random every twenty seconds, under load, and checks in the end that nothing
was lost, invented or reordered, and that the replica which lived through everything has not grown.
"""
_EPILOG: Final = """\
examples:
  make soak
  make soak MINUTES=5
  python -m faults.soak --minutes 120 --seed 7
"""
_MINUTE: Final = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak for as long as is asked for; returns the exit code, as `python -m faults` does."""
    parser = argparse.ArgumentParser(
        prog="python -m faults.soak",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long, about; 30 unless given")
    parser.add_argument("--seed", help="of all that is random; a random one unless given")
    options = parser.parse_args(arguments)
    rounds = max(1, round(options.minutes * _MINUTE / EVERY))
    seed = ["--seed", options.seed] if options.seed else []
    return run_experiments(["--only", "E18", "--rounds", str(rounds), *seed])


if __name__ == "__main__":
    sys.exit(main())
