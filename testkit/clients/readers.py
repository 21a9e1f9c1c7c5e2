"""The readers of docs/consumers.md: each is extracted, built and run.

Each reader has a section "### LANGUAGE" with its files and a block of shell commands, whose last line runs it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testkit.clients.api import Api
from testkit.clients.client import Service
from testkit.clients.execution import BUILD_ENVIRONMENT, ClientError, execute
from testkit.documentation import CodeBlock, code_blocks
from testkit.polling import poll_until
from testkit.processes import ROOT, Process, running

PAGE: Final = ROOT / "docs" / "consumers.md"
TOOLS: Final = {
    "JavaScript": ("node", "npm"),
    "Java": ("java", "javac", "mvn"),
    "Go": ("go",),
    "Rust": ("cargo", "cc", "make"),
}
"""The programs that each reader needs."""

_READ_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader in the documentation: its files, the commands that build it, and the command that runs it."""

    language: str
    files: Mapping[str, str]
    commands: Sequence[str]
    program: str

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return f"reader-{self.language.lower()}"

    @property
    def package(self) -> str:
        """Where it is."""
        return "consumers.md"

    @property
    def programs(self) -> Sequence[str]:
        """The programs that must be installed."""
        return TOOLS[self.language]

    async def build(self, directory: Path) -> None:
        """Write the files and execute the commands.

        Raises:
            ClientError: A command failed.
        """
        shutil.rmtree(directory, ignore_errors=True)
        for name, text in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        await execute(self.commands, directory)

    async def run(self, service: Service, directory: Path) -> Sequence[str]:
        """Compare its output with the keys that exist at its start, and with later changes.

        Raises:
            ClientError: A line is missing, wrong, or printed twice.
        """
        project = Project(service.variables)
        await project.create(f"{self.language} 1")
        await project.rename(await project.create(f"{self.language} 2"), f"{self.language} 3")
        await project.delete(await project.create("deleted before the start"))
        existing = await _count_keys(service)
        async with running(
            ["/bin/sh", "-c", f"exec {self.program}"],
            environment={**os.environ, **BUILD_ENVIRONMENT, **service.variables},
            output=directory / "output.log",
            errors=directory / "errors.log",
        ) as process:
            await _wait_for_lines(process, {f"ready: {existing} keys", *project.lines()})
            await project.delete(await project.create("deleted while the reader runs"))
            await _wait_for_lines(process, set(project.lines()))
            for key, expected in project.history.items():
                printed = [line for line in process.output.splitlines() if line.startswith(key)]
                if printed != expected:
                    raise ClientError(f"printed {printed} instead of {expected}")
        return [f"read {existing} keys", "followed creates, changes and deletions"]


def documented_readers() -> list[Reader]:
    """Return the readers of the page, in the order of `TOOLS`."""
    blocks = code_blocks(PAGE)
    return [_reader(language, [block for block in blocks if block.section == language]) for language in TOOLS]


def _reader(language: str, blocks: Sequence[CodeBlock]) -> Reader:
    files = {block.file: block.text for block in blocks if block.file}
    [commands] = [block.text.splitlines() for block in blocks if not block.file]
    return Reader(language, files, commands[:-1], commands[-1])


async def _wait_for_lines(process: Process, expected: set[str]) -> None:
    with suppress(AssertionError):
        await poll_until(
            lambda: not process.running or expected <= set(process.output.splitlines()),
            timeout=_READ_TIMEOUT,
        )
    missing = expected - set(process.output.splitlines())
    if missing or not process.running:
        raise ClientError(f"not printed: {missing}\n{process.output}\n{process.errors}")


class Project:
    """Changes the keys of a project; ``history`` has the lines that a reader must print for each key."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._api = Api(variables["API_URL"], variables["TOKEN"])
        self._path = f"projects/{variables['ORG']}/{variables['PROJECT']}/keys/"
        self.history: dict[str, list[str]] = {}

    def lines(self) -> list[str]:
        """Return the lines that a reader must print."""
        return [line for lines in self.history.values() for line in lines]

    async def create(self, name: str) -> str:
        """Create a key; return its public key."""
        key: str = (await self._api.send("POST", self._path, {"name": name}))["public"]
        self._add_line(key, name)
        return key

    async def rename(self, key: str, name: str) -> None:
        """Give a key another name."""
        await self._api.send("PUT", f"{self._path}{key}/", {"name": name})
        self._add_line(key, name)

    async def delete(self, key: str) -> None:
        """Delete a key."""
        await self._api.send("DELETE", f"{self._path}{key}/")
        self._add_line(key, "deleted")

    def _add_line(self, key: str, text: str) -> None:
        lines = self.history.setdefault(key, [])
        lines.append(f"{key} v{len(lines) + 1} {text}")


async def _count_keys(service: Service) -> int:
    """Return the number of all keys; at most 100 of an organization are counted."""
    api = Api(service.variables["API_URL"], service.admin_token)
    organizations = await api.send("GET", "organizations/?per_page=100")
    lists = [
        await api.send("GET", f"organizations/{each['slug']}/project-keys/?per_page=100") for each in organizations
    ]
    return sum(map(len, lists))
