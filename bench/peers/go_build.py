"""Builds the plain service in Go: its modules are locked by `go.sum`, and the program is in the cache directory."""

import shutil
from pathlib import Path
from typing import Final

from bench.programs import BenchError, run_program

_SOURCE: Final = Path(__file__).parent / "go_service"
_BUILD_TIMEOUT: Final = 600.0  # seconds; the first build downloads and compiles the modules


async def build(cache_dir: Path) -> Path:
    """Return the path of the program, built by the Go of this machine.

    Raises:
        BenchError: There is no Go, or the program cannot be built.
    """
    go = shutil.which("go")
    if go is None:
        raise BenchError(
            "there is no Go on this machine, so its rows are missing in the table; see https://go.dev/dl/"
        )
    program = cache_dir / "peers" / "go_service"
    command = (go, "build", "-C", str(_SOURCE), "-o", str(program), "-mod=readonly", ".")
    await run_program(*command, timeout=_BUILD_TIMEOUT)
    return program
