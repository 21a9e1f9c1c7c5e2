"""The command line: declares all commands, and reports their errors."""

import argparse
import asyncio
import io
import sys
from collections.abc import Coroutine, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from service.cli.commands import print_error
from service.domain.errors import CommandError, ProjectKeyError, TakenError, UnavailableError
from service.environment import SettingsError

EX_CONFIG: Final = 78
"""The exit code for invalid settings (sysexits.h)."""

_MODULES: Final = {
    "serve": ("serve", "publish"),
    "edge": ("edge",),
    "dev": ("dev",),
    "migrate": ("migrate",),
    "tokens": ("token",),
    "tenants": ("org", "project"),
    "keys": ("key",),
    "dsn": ("dsn",),
    "transfer": ("import", "export"),
    "events": ("events",),
    "audit": ("audit",),
    "config": ("config",),
}
"""The commands of each module of this package, in the order of the help. Only that of the command is imported, since
all together take longer to import than most commands to run."""

_EPILOG: Final = """\
examples:
  projectkeys dev                       run the service with its servers on this machine
  projectkeys migrate                   create or update the database schema
  projectkeys token create ci --scope project:write
  projectkeys project create acme web   create a project, and print the DSN of its key
  projectkeys serve                     run the API and the publisher
  projectkeys edge                      serve the keys to relays and proxies

Settings are environment variables; `projectkeys config` lists them.
Exit codes: 0; 1, the reason is on stderr; 2, the arguments are not valid; 78, the settings are not valid.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of ``arguments``, or of the process's arguments if None; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a test may replace it
            stream.reconfigure(errors="backslashreplace")  # its encoding may lack characters of names
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(*arguments[:1]).parse_args(arguments)
    try:
        result: Coroutine[None, None, int | None] | int | None = options.run(options)
        return (asyncio.run(result) if isinstance(result, Coroutine) else result) or 0
    except SettingsError as error:
        print_error(f"Some settings are invalid:\n{error}")
        return EX_CONFIG
    except (ProjectKeyError, CommandError) as error:
        print_error(f"projectkeys: {_message(error)}")
        return 1
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        return 0
    except KeyboardInterrupt:
        return 130


def _message(error: Exception) -> str:
    match error:
        case TakenError():
            return f"this {error.fields[0]} is already in use"
        case UnavailableError():
            return f"the database is unavailable ({error}): check DATABASE_URL"
        case _:
            return str(error)


def _parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of ``command``, or of all commands if it is none."""
    parser = argparse.ArgumentParser(
        prog="projectkeys",
        description="Issues client keys (DSNs) for projects and publishes key events to Kafka.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"projectkeys {version('projectkeys')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    known = [module for module, names in _MODULES.items() if command in names]
    for module in known or _MODULES:
        import_module(f"service.cli.{module}").add_to(commands)
    return parser
