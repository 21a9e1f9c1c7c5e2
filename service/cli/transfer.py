"""`import` and `export`."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from service.cli.commands import (
    Commands,
    add_command,
    command_line_origin,
    output_errors,
    print_error,
    print_lines,
    printable,
)
from service.cli.progress import progress_of
from service.command_app import connect_database, write_context
from service.domain.errors import CommandError
from service.environment import read
from service.json_text import dump_json
from service.settings import KeySettings
from service.usecases.transfer.export import export_items
from service.usecases.transfer.import_keys import Import, stage_file
from service.usecases.transfer.stage import Kind, Stage

_IMPORT: Final = """\
Compare a file with the database, and with --apply insert what the database does not have.

The file is the JSON of `sentry export` or of `projectkeys export`, or CSV with the columns
organization,project,project_id,public_key and, optionally, secret_key,label,active,limit,window. DSNs stay valid:
public keys and project ids are kept. Every inserted key is published.

A conflict (a key of another project, a deleted key, an id or a slug of another project, a value that does not fit)
prevents the import: nothing is written. A difference (other settings of the same key) is listed; the database stays
as it is. An import that was interrupted can be repeated. Connect as the owner of the tables.

exit codes:
  0   there is nothing to do, or --apply has inserted everything
  1   the comparison found something, there are conflicts, or the command failed"""

_EXPORT: Final = """\
Write organizations, projects and keys as the JSON of `sentry export`.

The output is one snapshot of the database. Without --with-secrets it contains no secret keys, and an import generates
others. A file is created with access for its owner alone; an existing file is not overwritten."""


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    parser = add_command(
        commands,
        "import",
        summary="import keys from a file",
        example="projectkeys import keys.json\n  projectkeys import keys.json --apply",
        run=_import,
    )
    parser.description = _IMPORT
    parser.add_argument("file", type=Path, metavar="FILE", help="file in JSON or CSV")
    parser.add_argument("--apply", action="store_true", help="insert what is new, unless there are conflicts")
    parser = add_command(
        commands,
        "export",
        summary="export keys to a file",
        example="projectkeys export --output keys.json --with-secrets",
        run=_export,
    )
    parser.description = _EXPORT
    parser.add_argument("--organization", metavar="SLUG", help="only this organization (default: all)")
    parser.add_argument("--with-secrets", action="store_true", help="include secret keys")
    parser.add_argument("--output", type=Path, metavar="FILE", help="file (default: standard output)")


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Name the file in the system's errors of the block."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None


async def _import(options: argparse.Namespace) -> int:
    settings = read(KeySettings)
    with Stage.open() as stage:
        with _file_errors(options.file), options.file.open("rb") as file, progress_of("File") as progress:
            stage_file(file, stage, progress)
        async with connect_database(settings) as database:
            use_case = Import(write_context(database, settings), organization_ids_bind=settings.org_subdomains)
            if options.apply:
                await use_case.apply(stage, command_line_origin(), progress_of)
            else:
                await use_case.compare(stage, progress_of)
        return _report(stage, applied=options.apply)


def _report(stage: Stage, *, applied: bool) -> int:
    for name, is_conflict in (("conflict", True), ("difference", False)):
        for line, text in stage.findings(conflicts=is_conflict):
            print_lines(printable(f"{name} in line {line}: {text}"))
    new = {kind: stage.count(kind, only_new=True) for kind in Kind}
    conflicts, differences = (stage.count_findings(conflicts=value) for value in (True, False))
    for kind, name in ((Kind.ORGANIZATION, "Organizations"), (Kind.PROJECT, "Projects"), (Kind.KEY, "Keys")):
        print_lines(f"{name}: {stage.count(kind)}, of which {new[kind]} are new.")
    for reason, count in stage.skipped.items():
        print_lines(f"Skipped {reason}: {count}.")
    print_lines(f"Conflicts: {conflicts}. Differences: {differences}.")
    found = any(new.values()) or differences
    if conflicts:
        print_lines("Nothing was written: remove the conflicts from the file or from the database first.")
    elif applied:
        print_lines("Everything that is new was inserted; differences were left as they are.")
    else:
        print_lines("--apply inserts what is new." if any(new.values()) else "There is nothing to insert.")
    return int(bool(conflicts or (found and not applied)))


async def _export(options: argparse.Namespace) -> None:
    count = 0
    async with connect_database() as database:
        items = export_items(database, options.organization, with_secrets=options.with_secrets)
        with _printed() if options.output is None else _created(options.output) as output:
            async with aclosing(items):
                async for item in items:
                    output.write((b",\n" if count else b"[\n") + dump_json(item))
                    count += 1
            output.write(b"\n]\n" if count else b"[]\n")
    print_error(f"Exported records: {count}.")


@contextmanager
def _printed() -> Iterator[BinaryIO]:
    with output_errors():
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


@contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """Create a file for its owner alone; delete it if the block fails."""
    with (
        _file_errors(path),
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        try:
            yield file
        except BaseException:
            path.unlink()
            raise
