"""Programs of Debian packages that some tests need: installed as root if they are missing."""

import asyncio
import os
import shutil
import signal
from typing import Final

_INSTALL_TIMEOUT: Final = 300.0
"""Seconds for the download and the installation of a package, waits for other installations included."""

_ENVIRONMENT: Final = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
"""No questions; in run level 1, the scripts of packages start no service."""

_installing = asyncio.Lock()


class MissingProgramError(Exception):
    """A program is missing and cannot be installed; the message says how to install it."""


async def require_program(program: str, *, package: str) -> str:
    """Return the path of a program, after its installation by `apt-get` if that is necessary and possible.

    Args:
        program: The name of the executable.
        package: The Debian package that contains it.

    Raises:
        MissingProgramError: The program is missing, and this process is not root or the installation failed.
    """
    async with _installing:
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        if found := shutil.which(program, path=path):
            return found
        hint = f"{program} is missing; install it (Debian: apt-get install {package})."
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise MissingProgramError(hint)
        await _apt_get("update", hint=hint)
        await _apt_get("install", "--no-install-recommends", package, hint=hint)
        if found := shutil.which(program, path=path):
            return found
        raise MissingProgramError(hint)


async def _apt_get(*arguments: str, hint: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "apt-get",
        *("-y", "-qq", "-o", f"DPkg::Lock::Timeout={_INSTALL_TIMEOUT:g}", *arguments),
        env=os.environ | _ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_INSTALL_TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGTERM)
        raise MissingProgramError(f"{hint} apt-get {arguments[0]} took too long.") from None
    if process.returncode:
        raise MissingProgramError(f"{hint} apt-get {arguments[0]}: {output.decode(errors='replace')[-500:]}")
