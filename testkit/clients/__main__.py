"""Runs clients, and prints a table of what each of them did."""

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from testkit.clients.catalogue import CLIENTS
from testkit.clients.client import CACHE, Client
from testkit.clients.execution import ClientError, report
from testkit.clients.service import Installation, installation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a client: "ok", "FAILED" or "not run", and what it did, or why not."""

    client: Client
    result: str
    text: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected clients; return the exit code."""
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(
        prog="python -m testkit.clients",
        description="Builds unmodified clients, and runs them against a service with empty servers of its own. Built "
        "clients are kept in .cache/clients. Exit code 1: a client failed, or was not run because a program that it "
        "needs is not installed.",
        epilog=f"clients: {', '.join(names)}",
    )
    parser.add_argument("client", nargs="*", metavar="CLIENT", help="a client to run (default: all of them)")
    parser.add_argument(
        "--skip", action="append", default=[], metavar="CLIENT", help="a client not to run; repeatable"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted({*options.client, *options.skip} - set(names)):
        parser.error(f"there is no client {', '.join(unknown)}; the clients are {', '.join(names)}")
    selected = [client for client in CLIENTS if client.name in (options.client or names)]
    outcomes = asyncio.run(_run_all([client for client in selected if client.name not in options.skip]))
    print("\n".join(_table(outcomes)))  # noqa: T201 -- a program's output
    return 0 if all(outcome.result == "ok" for outcome in outcomes) else 1


async def _run_all(clients: Sequence[Client]) -> list[Outcome]:
    """Build all clients before the service starts, so that it is not measured by their compilers."""
    failed = [await _build(client) for client in clients]
    outcomes = [outcome for outcome in failed if outcome is not None]
    if len(outcomes) == len(clients):
        return outcomes
    async with installation() as installed:
        pairs = zip(failed, clients, strict=True)
        return [outcome or await _run(client, installed) for outcome, client in pairs]


async def _build(client: Client) -> Outcome | None:
    """Return why the client cannot be run; None if it can be."""
    absent = [program for program in client.programs if shutil.which(program) is None]
    if absent:
        return Outcome(client, "not run", f"needs {', '.join(absent)}")
    report(f"{client.name}: installing {client.package} …")
    started_at = time.monotonic()
    try:
        await client.build(CACHE / client.name)
    except ClientError as error:
        return _failed(client, error)
    report(f"{client.name}: installed after {time.monotonic() - started_at:.0f} s")
    return None


async def _run(client: Client, installed: Installation) -> Outcome:
    report(f"{client.name}: running …")
    try:
        operations = await client.run(await installed.service_for(client.name), CACHE / client.name)
    except ClientError as error:
        return _failed(client, error)
    return Outcome(client, "ok", ", ".join(operations))


def _failed(client: Client, error: ClientError) -> Outcome:
    report(f"{client.name}: {error}")
    return Outcome(client, "FAILED", "see above")


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines of the table."""
    rows = [("client", "package", "result", "operations")]
    rows += [(outcome.client.name, outcome.client.package, outcome.result, outcome.text) for outcome in outcomes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
