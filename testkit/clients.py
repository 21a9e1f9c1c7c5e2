"""`make clients`: builds the readers of docs/consumers.md and runs them against the service.

Each reader has a section "### LANGUAGE" with its files and a block of shell commands, whose last line runs it.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from projectkeys_servers.servers import embedded_servers
from testkit.dev_service import dev_service
from testkit.documentation import CodeBlock, code_blocks
from testkit.http_client import HttpConnection
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

_BUILD_TIMEOUT: Final = 1200.0  # seconds; the first build downloads and compiles the client library
_READ_TIMEOUT: Final = 60.0
_SUCCESS: Final = range(200, 300)
_BUILD_ENVIRONMENT: Final = {"CARGO_TARGET_DIR": str(ROOT / ".cache" / "cargo-target")}
"""Cargo's projects share no compiled libraries by default, and compiling librdkafka takes minutes."""


class ClientError(Exception):
    """A reader cannot be built, or its output is not as expected."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader in the documentation: its files, the commands that build it, and the command that runs it."""

    language: str
    files: Mapping[str, str]
    build: Sequence[str]
    run: str


def documented_readers() -> list[Reader]:
    """Return the readers of the page, in the order of `TOOLS`."""
    blocks = code_blocks(PAGE)
    return [_reader(language, [block for block in blocks if block.section == language]) for language in TOOLS]


def _reader(language: str, blocks: Sequence[CodeBlock]) -> Reader:
    files = {block.file: block.text for block in blocks if block.file}
    [commands] = [block.text.splitlines() for block in blocks if not block.file]
    return Reader(language, files, commands[:-1], commands[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the selected readers; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m testkit.clients",
        description="Builds the readers of docs/consumers.md and runs them against the service. Exit code 1: a "
        "reader failed; 2: a reader was skipped because a program that it needs is not installed.",
    )
    parser.add_argument("--only", action="append", choices=TOOLS, help="this language; can be repeated")
    selected = parser.parse_args(arguments).only or list(TOOLS)
    results = asyncio.run(_check([reader for reader in documented_readers() if reader.language in selected]))
    return max(results, default=0, key=lambda code: (code == 1, code))


async def _check(readers: Sequence[Reader]) -> list[int]:
    with tempfile.TemporaryDirectory(prefix="projectkeys-clients-") as name:
        directory = Path(name)
        async with (
            embedded_servers(directory / "servers", cache_dir=ROOT / ".cache", report=_report) as servers,
            dev_service(
                directory,
                database_url=servers.postgres.url,
                bootstrap_servers=servers.kafka.bootstrap_servers,
            ) as variables,
        ):
            return [await _check_reader(reader, variables, directory) for reader in readers]


async def _check_reader(reader: Reader, variables: Mapping[str, str], directory: Path) -> int:
    missing = [tool for tool in TOOLS[reader.language] if shutil.which(tool) is None]
    if missing:
        _report(f"{reader.language}: SKIPPED, not installed: {', '.join(missing)}")
        return 2
    started_at = time.monotonic()
    try:
        await _build(reader, directory / reader.language)
        built_at = time.monotonic()
        await _run(reader, variables, directory / reader.language)
    except ClientError as error:
        _report(f"{reader.language}: FAILED: {error}")
        return 1
    finished_at = time.monotonic()
    _report(f"{reader.language}: ok, built in {built_at - started_at:.1f} s, read in {finished_at - built_at:.1f} s")
    return 0


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a program's output


async def _build(reader: Reader, directory: Path) -> None:
    """Write the files and execute the commands.

    Raises:
        ClientError: a command failed, or did not end in 20 minutes.
    """
    for name, text in reader.files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    script = "\n".join(reader.build)
    async with running(
        ["/bin/sh", "-exc", script],
        environment={**os.environ, **_BUILD_ENVIRONMENT},
        output=directory / "build.log",
    ) as process:
        status = await process.wait_for_exit(timeout=_BUILD_TIMEOUT)
        if status != 0:
            raise ClientError(f"the build ended with {status}:\n{process.output}")


async def _run(reader: Reader, variables: Mapping[str, str], directory: Path) -> None:
    """Run the reader and compare its output with the keys that exist at its start, and with later changes.

    Raises:
        ClientError: a line is missing, wrong, or printed twice.
    """
    project = Project(variables)
    await project.create(f"{reader.language} 1")
    await project.rename(await project.create(f"{reader.language} 2"), f"{reader.language} 3")
    await project.delete(await project.create("deleted before the start"))
    existing = await project.count()
    async with running(
        ["/bin/sh", "-c", f"exec {reader.run}"],
        environment={**os.environ, **_BUILD_ENVIRONMENT, **variables},
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
        self._port = int(variables["API_URL"].rpartition(":")[2])
        self._token = variables["TOKEN"]
        self._path = f"/api/0/projects/{variables['ORG']}/{variables['PROJECT']}/keys/"
        self.history: dict[str, list[str]] = {}

    def lines(self) -> list[str]:
        """Return the lines that a reader must print."""
        return [line for lines in self.history.values() for line in lines]

    async def create(self, name: str) -> str:
        """Create a key; return its public key."""
        key: str = (await self._send("POST", "", {"name": name}))["public"]
        self._add_line(key, name)
        return key

    async def rename(self, key: str, name: str) -> None:
        """Give a key another name."""
        await self._send("PUT", f"{key}/", {"name": name})
        self._add_line(key, name)

    async def delete(self, key: str) -> None:
        """Delete a key."""
        await self._send("DELETE", f"{key}/")
        self._add_line(key, "deleted")

    async def count(self) -> int:
        """Return the number of keys, at most 100."""
        return len(await self._send("GET", "?per_page=100"))

    def _add_line(self, key: str, text: str) -> None:
        lines = self.history.setdefault(key, [])
        lines.append(f"{key} v{len(lines) + 1} {text}")

    async def _send(self, method: str, path: str, body: object = None) -> Any:
        connection = HttpConnection(self._port)
        response = await connection.request(
            method, self._path + path, token=self._token, body=body, headers={"Prefer": "wait=10"}
        )
        connection.close()
        is_published = response.headers.get("event-status", "published") == "published"
        if response.status not in _SUCCESS or not is_published:
            raise ClientError(f"{method} {path}: {response.status} {response.body!r}")
        return response.json()


if __name__ == "__main__":
    sys.exit(main())
