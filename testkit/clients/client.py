"""A client, and what it is run against."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from testkit.clients.execution import execute, run_program
from testkit.clients.ingest import Ingest
from testkit.processes import ROOT

CACHE: Final = ROOT / ".cache" / "clients"
"""The directory in which clients are installed, each in that of its name."""

PROGRAMS: Final = Path(__file__).parent / "programs"
"""The directory that has one of each packaged client: its version and the program that uses it."""
_STAMP: Final = "built"


@dataclass(frozen=True, slots=True)
class Service:
    """What a client is run against.

    Args:
        variables: API_URL, EDGE_URL, INGEST_URL, TOKEN, ORG and PROJECT, the addresses of the servers, and the ingest
            service as proxy. The organization has one project with a default key; the token is limited to it.
        admin_token: A token with all scopes, of all organizations.
        ingest: The ingest service to which the DSNs lead.
    """

    variables: Mapping[str, str]
    admin_token: str
    ingest: Ingest


class Client(Protocol):
    """A client of the API, an SDK, or a reader of the topic."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def package(self) -> str:
        """Its package and version."""

    @property
    def programs(self) -> Sequence[str]:
        """The programs that must be installed."""

    async def build(self, directory: Path) -> None:
        """Install or compile it in a directory, unless that was done before.

        Raises:
            ClientError: That failed.
        """

    async def run(self, service: Service, directory: Path) -> Sequence[str]:
        """Use it as its users do; return what it did.

        Raises:
            ClientError: Something did not work as expected.
        """


@dataclass(frozen=True, slots=True)
class PackagedClient:
    """A client with a directory in `programs`, whose files use it.

    Args:
        commands: The shell commands that install or compile it.
        program: The shell command that runs it. It prints a line for each operation that worked, and ends with
            another status than 0 after the first one that did not.
    """

    name: str
    package: str
    programs: Sequence[str]
    commands: Sequence[str]
    program: str

    async def build(self, directory: Path) -> None:
        """Execute the commands in a copy of the directory, unless that was done with the same files and commands."""
        wanted = hashlib.sha256(repr((_files(PROGRAMS / self.name), self.commands)).encode()).hexdigest()
        stamp = directory / _STAMP
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(PROGRAMS / self.name, directory)
        await execute(self.commands, directory)
        stamp.write_text(wanted)

    async def run(self, service: Service, directory: Path) -> Sequence[str]:
        """Run the program; return the lines that it prints."""
        return await run_program(self.program, directory, service.variables)


def _files(directory: Path) -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}
