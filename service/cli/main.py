"""The command line: one subcommand a purpose, each with an example, each mistake a sentence."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from service import settings
from service.cli import audit, config, dev, events, migrate, serve, tenants, tokens
from service.dev.errors import EmbeddedServerError
from service.domain.errors import ProjectKeyError, TakenError, UnavailableError
from service.kafka.errors import KafkaFailureError
from service.postgres.schema import SchemaError
from service.server import PortTakenError

EX_CONFIG: Final = 78
"""The exit code for settings that cannot be used (sysexits.h)."""

_MISTAKES: Final = (
    ProjectKeyError,
    KafkaFailureError,
    SchemaError,
    PortTakenError,
    EmbeddedServerError,
    LookupError,
    ValueError,
)

_EPILOG: Final = """\
examples:
  projectkeys dev                       everything on this machine, to try it
  projectkeys migrate                   make the schema current
  projectkeys token create ci --scope project:write
  projectkeys serve                     the API and the publisher

Settings come from the environment; `projectkeys config` shows all of them.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except settings.SettingsError as error:
        print(f"Some settings cannot be used:\n{error}", file=sys.stderr)  # noqa: T201 -- a command's output
        return EX_CONFIG
    except _MISTAKES as error:
        print(f"projectkeys: {_words(error)}", file=sys.stderr)  # noqa: T201 -- a command's output
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _words(error: Exception) -> str:
    match error:
        case TakenError():
            return f"this {error.fields[0]} is already in use"
        case UnavailableError():
            return f"the database cannot be reached ({error}): look at DATABASE_URL"
        case _:
            return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="projectkeys",
        description="Issues client keys (DSNs) for projects and tells Kafka of each one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"projectkeys {version('projectkeys')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (serve, dev, migrate, tokens, tenants, events, audit, config):
        module.add_to(commands)
    return parser
