"""`events reconcile`."""

import argparse
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from service.cli.commands import (
    Commands,
    add_command,
    add_json_option,
    command_line_origin,
    print_result,
)
from service.cli.progress import progress_of
from service.command_app import build_reconcile, connect_database
from service.domain.differences import Difference, Kind
from service.environment import read
from service.settings import ReconcileSettings
from service.usecases.reconcile.diff_store import DiffStore

_MAX_EXAMPLES: Final = 5
"""The maximum number of keys that are shown for each kind of difference."""

_MEANING: Final = {
    Kind.MISSING: "the topic does not have a key that Postgres has",
    Kind.STALE: "the topic has an older version, or another state in the same version",
    Kind.OUTDATED_FORM: "the record lacks members that this release has added; --repair publishes the next version",
    Kind.PHANTOM: "the topic has a key or a version that Postgres does not have",
    Kind.WRONGLY_PRESENT: "the topic has a key that is deleted",
    Kind.PARKED: "Kafka rejects an event of the key: see `projectkeys events parked list`",
}

_DESCRIPTION: Final = """\
Compare the whole topic with Postgres. The exit code is 1 if they differ in more than members that a later release has
added (outdatedForm).

Postgres is read in one snapshot, then the topic up to its current end. Keys that change meanwhile or have events in
the outbox are not compared. DSNs are compared too, so INGEST_URL and ORG_SUBDOMAINS must be as those of the service.

--repair republishes only the keys that differ, through the outbox: in the version that Postgres has or, if the topic
has a version that is not older, in the next version, which consumers accept. Keys that only the topic has are
published as deleted. After the restore of a backup these include the keys that were created since the backup, so
examine the differences first. Run the command again when the events are published.

The command needs about 100 MB in the temporary directory for a million keys."""


def add_to(group: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        group,
        "reconcile",
        summary="compare the topic with Postgres and repair differences",
        example="projectkeys events reconcile\n  projectkeys events reconcile --repair",
        run=_run,
    )
    parser.description = _DESCRIPTION
    parser.add_argument("--repair", action="store_true", help="republish the keys that differ")
    add_json_option(parser, "one JSON object")


async def _run(options: argparse.Namespace) -> int:
    settings = read(ReconcileSettings)
    with DiffStore.open() as diff_store:
        async with connect_database(settings) as database:
            reconcile = build_reconcile(database, settings)
            await reconcile.compare(diff_store, progress_of)
            counts, republished = diff_store.count_differences(), 0
            if options.repair and counts:
                republished = await reconcile.repair(diff_store, command_line_origin(), progress_of)
        found = (diff_store, counts, republished)
        print_result(options, _report_to_json(*found), *_readable_lines(*found))
    return 1 if counts.keys() - {Kind.OUTDATED_FORM} else 0


def _examples(diff_store: DiffStore, kind: Kind) -> Iterator[Difference]:
    return islice(diff_store.differences(kind), _MAX_EXAMPLES)


def _readable_lines(diff_store: DiffStore, counts: Mapping[Kind, int], republished: int) -> Iterator[str]:
    keys, in_flight = diff_store.count_keys()
    yield f"Keys in Postgres: {keys}. Keys with unpublished events: {in_flight}."
    for kind, count in counts.items():
        yield f"{kind}: {count} ({_MEANING[kind]})"
        for difference in _examples(diff_store, kind):
            yield f"  {difference.public_key} {_versions(difference)}"
    if not counts:
        yield "The topic matches Postgres."
    elif republished:
        yield f"Keys republished: {republished}. Run the command again when their events are published."
    elif counts.keys() != {Kind.PARKED}:
        yield "--repair republishes these keys."


def _versions(difference: Difference) -> str:
    stored, published = difference.version_in_postgres, difference.version_in_topic
    in_postgres = f"version {stored}" if stored else "unknown"
    in_topic = f"version {published}" if published else "no readable record"
    newest = difference.newest_version
    earlier = f", earlier version {newest}" if newest > published else ""
    state = " with another state" if difference.kind is Kind.STALE and published == stored else ""
    return f"Postgres: {in_postgres}; topic: {in_topic}{earlier}{state}"


def _report_to_json(diff_store: DiffStore, counts: Mapping[Kind, int], republished: int) -> dict[str, Any]:
    keys, in_flight = diff_store.count_keys()
    differences = {
        kind.value: {"count": count, "examples": [*map(_difference_to_json, _examples(diff_store, kind))]}
        for kind, count in counts.items()
    }
    return {"keys": keys, "inFlight": in_flight, "republished": republished, "differences": differences}


def _difference_to_json(difference: Difference) -> dict[str, Any]:
    return {
        "key": difference.public_key,
        "inPostgres": difference.version_in_postgres,
        "inTopic": difference.version_in_topic,
        "newestVersion": difference.newest_version,
    }
