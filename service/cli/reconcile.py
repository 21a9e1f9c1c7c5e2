"""`events reconcile`: the topic beside Postgres."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from itertools import islice
from typing import Any, Final

import orjson

from service import settings
from service.app import Service, build, kafka_connection
from service.cli.commands import Commands, add_command, command_line_origin, say, started
from service.cli.progress import Progress
from service.domain.differences import Difference, Kind
from service.kafka.reader import read_topic
from service.usecases.reconcile.diff_store import DiffStore, open_diff_store

_EXAMPLES: Final = 5
"""Keys that are shown of each kind."""

_MEANING: Final = {
    Kind.MISSING: "Postgres has the key, the topic does not tell of it",
    Kind.STALE: "the topic tells of an older version, or of another state in the same one",
    Kind.PHANTOM: "the topic tells of a key or a version that Postgres does not know",
    Kind.WRONGLY_PRESENT: "the topic has the key, which is deleted",
    Kind.PARKED: "Kafka refuses an event of the key: look at `projectkeys events parked list`",
}

_WORDS: Final = """\
Read the whole topic and all of Postgres, and tell where they differ. The exit code is 1 if they do.

Postgres is looked at as of one moment, the topic up to where it ends after that; keys that change meanwhile or whose
events are on their way are left out. DSNs are compared too: INGEST_URL and ORG_SUBDOMAINS have to be the service's.

--repair tells again of just those keys, through the outbox: in the version that Postgres has, or, where the topic has
told of one as new, in the next, which consumers then take. What the topic has and Postgres does not is told to be
deleted: after a restore of an older backup, look first. Let the service publish it, then look again.

It takes some 100 MB in the temporary directory for a million keys."""


def add_to(group: Commands) -> None:
    """Declare it."""
    parser = add_command(
        group,
        "reconcile",
        summary="compare the topic with Postgres, and mend it",
        example="projectkeys events reconcile\n  projectkeys events reconcile --repair",
        run=lambda options: asyncio.run(_run(as_json=options.json, mend=options.repair)),
    )
    parser.description = _WORDS
    parser.add_argument("--repair", action="store_true", help="tell again of the keys that differ")
    parser.add_argument("--json", action="store_true", help="one JSON object, for machines")


async def _run(*, as_json: bool, mend: bool) -> int:
    service = build(settings.read())
    with open_diff_store() as ledger:
        async with started(service.database):
            with _progress("Postgres") as progress:
                await service.reconcile.read_postgres(ledger, progress.show)
            await _read_topic(service, ledger)
            await service.reconcile.confirm(ledger)
            found = ledger.counts()
            told = await _repair(service, ledger) if mend and found else 0
        keys, on_their_way = ledger.sizes()
        report = {"keys": keys, "onTheirWay": on_their_way, "toldAgain": told}
        say(*(_json_lines if as_json else _readable_lines)(report, found, ledger))
    return 1 if found else 0


async def _read_topic(service: Service, ledger: DiffStore) -> None:
    in_force = service.settings
    with _progress("Topic") as progress:
        pages = read_topic(kafka_connection(in_force), in_force.kafka_topic, progress=progress.show)
        async with aclosing(pages):
            async for records in pages:
                ledger.add_told(records)


async def _repair(service: Service, ledger: DiffStore) -> int:
    with _progress("Repair") as progress:
        return await service.repair.run(ledger, command_line_origin(), progress.show)


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    progress = Progress(what)
    try:
        yield progress
    finally:
        progress.end()


def _readable_lines(report: dict[str, int], found: dict[Kind, int], ledger: DiffStore) -> Iterator[str]:
    yield f"Keys in Postgres: {report['keys']}. Keys with events on their way: {report['onTheirWay']}."
    for kind, number in found.items():
        yield f"{kind}: {number} ({_MEANING[kind]})"
        for one in _examples(ledger, kind):
            yield f"  {one.public_key} {_versions(one)}"
    if not found:
        yield "The topic tells what Postgres has."
    elif report["toldAgain"]:
        yield f"Keys told again: {report['toldAgain']}. Look again when they are published."
    elif found.keys() != {Kind.PARKED}:
        yield "--repair tells again of these keys."


def _versions(one: Difference) -> str:
    known = f"version {one.known}" if one.known else "unknown"
    told = f"version {one.told}" if one.told else "nothing that can be read"
    newest = f", before that {one.newest}" if one.newest > one.told else ""
    other = " with another state" if one.kind is Kind.STALE and one.told == one.known else ""
    return f"Postgres: {known}; topic: {told}{newest}{other}"


def _json_lines(report: dict[str, int], found: dict[Kind, int], ledger: DiffStore) -> Iterator[str]:
    differences: dict[str, Any] = {
        kind.value: {"count": number, "examples": [_json_example(one) for one in _examples(ledger, kind)]}
        for kind, number in found.items()
    }
    yield orjson.dumps({**report, "differences": differences}).decode()


def _json_example(one: Difference) -> dict[str, Any]:
    return {"key": one.public_key, "known": one.known, "told": one.told, "newest": one.newest}


def _examples(ledger: DiffStore, kind: Kind) -> Iterator[Difference]:
    return islice(ledger.differences(kind), _EXAMPLES)
