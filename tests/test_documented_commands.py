"""The documented requests and commands, run against what `make run` starts."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest

from projectkeys_servers.servers import Servers
from testkit.dev_service import dev_service
from testkit.documentation import SHELL, CodeBlock, code_blocks, projectkeys_commands
from testkit.polling import poll_until
from testkit.processes import ROOT, running

_README: Final = ROOT / "README.md"
_EVENTS: Final = ROOT / "docs" / "events.md"
_OPERATIONS: Final = ROOT / "docs" / "operations.md"
_COMMAND_TIMEOUT: Final = 60.0
_FAILING: Final = ("--cancel 7", "discard")
"""Commands on things that do not exist here: they exit with 1 and a message."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of dev.env, and a directory for output files."""

    variables: Mapping[str, str]
    directory: Path

    async def run(self, *command: str) -> tuple[int | None, str, str]:
        """Run a program; return its exit status, its output and its errors."""
        name = uuid4().hex
        async with running(
            command,
            # The root precedes the packages, one of which (sentry-kafka-schemas) installs a package `tests`.
            environment={**os.environ, **self.variables, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.directory)},
            output=self.directory / f"{name}.out",
            errors=self.directory / f"{name}.err",
        ) as process:
            status = await process.wait_for_exit(timeout=_COMMAND_TIMEOUT)
            return status, process.output, process.errors

    async def projectkeys(self, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
        """Run `projectkeys` commands one after the other; return exit code and standard error of each."""
        status, output, errors = await self.run(sys.executable, "-m", "tests.run_commands", json.dumps(commands))
        assert status == 0, errors
        return [(code, text) for code, text in json.loads(output)]


@pytest.fixture(scope="module")
async def development(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Environment]:
    """What `make run` starts, on the servers of the tests."""
    name = f"documentation_{uuid4().hex}"
    admin = await asyncpg.connect(servers.postgres.url)
    await admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    directory = tmp_path_factory.mktemp("documentation")
    async with dev_service(
        directory,
        database_url=servers.postgres.url.rpartition("/")[0] + f"/{name}",
        bootstrap_servers=servers.kafka.bootstrap_servers,
        topic=name,
    ) as variables:
        yield Environment(variables, directory)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


def _try_it(language: str) -> list[CodeBlock]:
    """Return the code blocks of the README's section "Try it"."""
    return [block for block in code_blocks(_README) if block.section == "Try it" and block.language == language]


def _matches(shown: Any, actual: Any) -> bool:
    """Compare the types, the members and their order; a member named … stands for further members."""
    if not isinstance(shown, dict):
        return type(shown) is type(actual)
    names = [name for name in shown if name != "…"]
    is_complete = "…" in shown or len(names) == len(actual)
    members = names if "…" not in shown else [name for name in actual if name in names]
    return (
        is_complete
        and [name for name in actual if name in names] == members
        and set(names) <= set(actual)
        and all(_matches(shown[name], actual[name]) for name in names)
    )


async def test_the_requests_of_the_readme_have_the_documented_results(development: Environment) -> None:
    """The curl command, the line of `events tail`, and the event."""
    variables = development.variables
    _, request, tail = _try_it("console")
    command = request.text.removeprefix("$ ").replace("http://127.0.0.1:8080", variables["API_URL"])
    status, output, errors = await development.run("/bin/sh", "-c", command.replace("sntryu_…", variables["TOKEN"]))
    assert status == 0, errors
    response, event = (json.loads(block.text) for block in _try_it("json"))
    created = json.loads(output)
    assert list(created) == list(response)
    assert _matches(response, created)
    [arguments] = projectkeys_commands(tail.text)
    shown = tail.text.splitlines()[-1].replace(response["id"], created["id"])
    line = _without_time(shown)
    lines = await _tail(development, arguments, until=lambda lines: line in map(_without_time, lines))
    assert line in map(_without_time, lines)
    records = await _tail(
        development, [*arguments, "--json"], until=lambda lines: any(created["id"] in each for each in lines)
    )
    [record] = [json.loads(each) for each in records if created["id"] in each]
    assert _matches(event, record["value"])
    [documented] = [json.loads(block.text) for block in code_blocks(_EVENTS) if block.language == "json"]
    assert _matches(documented, record)


def _without_time(line: str) -> str:
    return re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line)


async def _tail(development: Environment, arguments: Sequence[str], *, until: Any) -> list[str]:
    """Run `events tail` until its lines satisfy a condition; return them."""
    name = uuid4().hex
    async with running(
        [sys.executable, "-m", "service", *arguments],
        environment=development.variables,
        output=development.directory / f"{name}.out",
        errors=development.directory / f"{name}.err",
    ) as process:
        await poll_until(lambda: until(process.output.splitlines()))
        process.signal(signal.SIGINT)
        await process.wait_for_exit(timeout=_COMMAND_TIMEOUT)
        return process.output.splitlines()


async def test_the_commands_of_the_operations_page_work(development: Environment) -> None:
    """Each ends with the documented exit code and without a traceback; `events tail` starts.

    The organization and the project are those that the README creates.
    """
    documented = _documented(_OPERATIONS)
    assert len(documented) > 10, "the page has commands of each kind"
    creating = [words for words in _documented(_README) if "create" in words]
    ending = [words for words in documented if "tail" not in words]
    results = await development.projectkeys([*creating, *ending])
    unexpected = {
        " ".join(words): result
        for words, result in zip([*creating, *ending], results, strict=True)
        if result[0] != int(any(part in " ".join(words) for part in _FAILING))
    }
    assert unexpected == {}
    await asyncio.gather(*(_start_tail(development, words) for words in documented if "tail" in words))


def _documented(page: Path) -> list[list[str]]:
    """Return the arguments of the `projectkeys` commands on a page."""
    blocks = (block for block in code_blocks(page) if block.language in SHELL)
    return [words for block in blocks for words in projectkeys_commands(block.text)]


async def _start_tail(development: Environment, arguments: Sequence[str]) -> None:
    name = uuid4().hex
    async with running(
        [sys.executable, "-m", "service", *arguments],
        environment=development.variables,
        output=development.directory / f"{name}.out",
        errors=development.directory / f"{name}.err",
    ) as process:
        await poll_until(lambda: "Ctrl-C" in process.errors or not process.running)
        assert process.running, process.errors
