"""Builds the consumer kit and installs it in an empty virtual environment, without a network."""

import asyncio
import re
import shutil
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import distribution, requires
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
KIT: Final = ROOT / "kit"
_UV: Final = Path(sys.executable).with_name("uv")
_TIMEOUT: Final = 120.0
"""Seconds that a program may take."""

_NAME: Final = re.compile(r"[\w.-]+")


async def run(*command: str | Path, directory: Path, environment: dict[str, str] | None = None) -> str:
    """Run a program and return its standard output; fail with its standard error unless it exits with 0."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_TIMEOUT):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def build(project: Path, target: str, directory: Path) -> Path:
    """Build a project's `wheel` or `sdist` in an empty ``directory`` and return its path."""
    await run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", directory, directory=project)
    return _only_file(directory)


def _only_file(directory: Path) -> Path:
    [file] = directory.iterdir()
    return file


@dataclass(frozen=True, slots=True)
class KitEnvironment:
    """A virtual environment with the kit and the distributions that it requires, and nothing else."""

    path: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    async def run(self, *arguments: str | Path, directory: Path) -> str:
        """Run Python with an empty process environment and return its output."""
        return await run(self.python, *arguments, directory=directory, environment={})


async def install_kit(directory: Path) -> KitEnvironment:
    """Build the kit and install it in a new virtual environment below ``directory``."""
    wheels = directory / "wheels"
    wheels.mkdir()
    wheel = await build(KIT, "wheel", wheels)
    installed = KitEnvironment(directory / "environment")
    venv.create(installed.path, with_pip=False, symlinks=True)
    uv = (_UV, "pip")
    options = ("--quiet", "--python", installed.python, "--offline", "--no-config")
    await run(*uv, "install", *options, "--no-index", "--no-deps", wheel, directory=directory)
    for name in _required("aiokafka"):
        _copy_distribution(name, installed.path)
    await run(*uv, "check", *options[1:], directory=directory)
    return installed


def _required(name: str) -> set[str]:
    """Return the names of a distribution and of all distributions that it requires, without extras."""
    names, queue = set[str](), [name]
    while queue:
        names.add(current := queue.pop())
        needed = {line for line in requires(current) or () if "extra ==" not in line}
        queue += {_NAME.match(line)[0] for line in needed} - names  # type: ignore[index]  # -- each begins with a name
    return names


def _copy_distribution(name: str, environment: Path) -> None:
    """Copy a distribution from this environment, because a test must not download it."""
    packages = Path(sysconfig.get_path("purelib"))
    target = environment / packages.relative_to(sys.prefix)
    for file in distribution(name).files or ():
        source = Path(str(file.locate()))
        if source.is_relative_to(packages):
            copy = target / source.relative_to(packages)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
