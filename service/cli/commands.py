"""The functions that the subcommands share: declaration, argument types, the database connection, and output."""

import argparse
import os
import re
import secrets
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from service.domain.dsn import is_base_url
from service.domain.errors import CommandError
from service.domain.model import Origin
from service.json_text import dump_json

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- has no public name
"""The object that subcommands are added to."""

Row = TypeVar("Row")
Run = Callable[[argparse.Namespace], int | Coroutine[Any, Any, int | None] | None]

_DATABASE_NOTE: Final = """These commands use the database at DATABASE_URL and need no token.
Each change is audited, and that of a key publishes its event."""

_MAX_NAME_LENGTH: Final = 64


def add_command(
    commands: Commands, name: str, *, summary: str, example: str, run: Run | None = None
) -> argparse.ArgumentParser:
    """Declare a subcommand.

    Args:
        commands: The object to add the subcommand to.
        name: The name of the subcommand.
        summary: One line for the help, starting with a lower-case verb.
        example: Command lines that work when pasted into a shell, separated by a newline and two spaces.
        run: Executes the subcommand, also as a coroutine, and returns the exit code or nothing; None for a group.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"{'examples' if len(example.splitlines()) > 1 else 'example'}:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def add_group(commands: Commands, name: str, *, summary: str, example: str, note: str = _DATABASE_NOTE) -> Commands:
    """Declare a group of subcommands; return the object that they are added to. Its help begins with both texts."""
    parser = add_command(commands, name, summary=summary, example=example)
    parser.description = f"{parser.description} {note}".strip()
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_json_option(parser: argparse.ArgumentParser, output: str = "one JSON object per line") -> None:
    """Declare the option ``--json``, whose help says "print ``output``"."""
    parser.add_argument("--json", action="store_true", help=f"print {output}")


def whole_number(highest: int, *, lowest: int = 1) -> Callable[[str], int]:
    """Return the argument type of whole numbers from ``lowest`` to ``highest``."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and lowest <= int(text) <= highest):
            raise argparse.ArgumentTypeError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _text(is_valid: Callable[[str], object], requirement: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not is_valid(text):
            raise argparse.ArgumentTypeError(f"must be {requirement}")
        return text

    return parse


def matching(pattern: str, requirement: str) -> Callable[[str], str]:
    """Return the argument type of texts that match ``pattern``: they must be ``requirement``."""
    return _text(partial(re.fullmatch, pattern), requirement)


def project_path(text: str) -> tuple[str, str]:
    """Return the organization and the project of an argument of the form ``organization/project``.

    Raises:
        ArgumentTypeError: The argument has another form.
    """
    organization, slash, project = text.partition("/")
    if not (organization and slash and project):
        raise argparse.ArgumentTypeError("must be an organization and a project, such as acme/web")
    return organization, project


base_url: Final = _text(is_base_url, "an http or https URL without a trailing slash")
"""The argument type of base URLs."""


def display_name(text: str) -> str:
    """Return an argument that is a display name, without surrounding white space.

    Raises:
        ArgumentTypeError: The name is empty, too long or not printable.
    """
    name = text.strip()
    if not (0 < len(name) <= _MAX_NAME_LENGTH and name.isprintable()):
        raise argparse.ArgumentTypeError(f"must be 1 to {_MAX_NAME_LENGTH} printable characters")
    return name


def command_line_origin() -> Origin:
    """Return the origin that the audit log stores for changes by a command, with a random request id."""
    return Origin(token_id=None, request_id=f"cli-{secrets.token_hex(8)}")


def print_lines(*lines: str) -> None:
    """Print lines to standard output.

    Raises:
        BrokenPipeError: The reader of a pipe has ended.
        CommandError: The output cannot be written for another reason.
    """
    with output_errors():
        for line in lines:
            print(line, flush=True)  # noqa: T201 -- a command's output


@contextmanager
def output_errors() -> Iterator[None]:
    """Translate the errors of standard output within the block.

    Raises:
        BrokenPipeError: The reader of a pipe has ended.
        CommandError: The output cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would fail too
        if isinstance(error, BrokenPipeError):
            raise
        raise CommandError(f"the output cannot be written: {error.strerror}") from None


def print_json(value: Mapping[str, Any]) -> None:
    """Print a JSON object to standard output, on one line."""
    print_lines(dump_json(value).decode())


def print_result(options: argparse.Namespace, value: Mapping[str, Any], *lines: str) -> None:
    """Print ``value`` with the option ``--json``, otherwise ``lines``."""
    if options.json:
        print_json(value)
    else:
        print_lines(*lines)


def print_table(
    options: argparse.Namespace,
    heading: str,
    rows: Sequence[Row],
    to_json: Callable[[Row], Mapping[str, Any]],
    to_line: Callable[[Row], str],
) -> None:
    """Print a JSON object for each row with the option ``--json``, otherwise a heading and a line for each row."""
    if options.json:
        print_lines(*(dump_json(to_json(row)).decode() for row in rows))
    else:
        print_lines(heading, *map(to_line, rows))


def print_error(text: str) -> None:
    """Print a message to standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a command's output


def printable(text: str) -> str:
    """Escape the characters of ``text`` that could end the line or control the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
