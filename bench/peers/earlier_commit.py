"""The service of an earlier commit, which is the reference of the goals for processor time.

Its source and an environment with its locked dependencies are in the cache directory; both are created once.
"""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Final

from bench.deployment import Installation
from bench.programs import BenchError, run_program
from testkit.commits import RELEASE_0_1_0, MissingCommitError, extract_commit

COMMIT: Final = RELEASE_0_1_0
_INSTALL_TIMEOUT: Final = 300.0  # seconds; it downloads about 20 MB


async def install(cache_dir: Path) -> Installation:
    """Return the installation of `COMMIT`, in an environment of its own with the interpreter of this process.

    Raises:
        BenchError: The clone does not contain the commit, or its dependencies cannot be installed.
    """
    directory = cache_dir / "peers" / COMMIT
    environment, stamp = directory / ".venv", directory / ".installed"
    if not stamp.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        await _extract(directory)
        uv = str(Path(sys.executable).parent / "uv")
        await run_program(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
        lock = str(directory / "requirements" / "runtime.txt")
        for arguments in (
            ("--require-hashes", "--requirement", lock),
            ("--no-deps", "--no-build-isolation", "--editable", str(directory)),
        ):
            command = (uv, "pip", "install", "--quiet", *arguments)
            variables = {"VIRTUAL_ENV": str(environment)}
            await run_program(*command, environment=variables, timeout=_INSTALL_TIMEOUT)
        stamp.touch()
    return Installation(str(environment / "bin" / "python"), directory)


async def _extract(directory: Path) -> None:
    try:
        await asyncio.to_thread(extract_commit, COMMIT, directory)
    except MissingCommitError as error:
        raise BenchError(f"the rows of an earlier commit are missing in the table: {error}") from None
