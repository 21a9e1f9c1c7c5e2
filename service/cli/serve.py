"""`serve` and `publish`: the processes of production."""

import argparse

from service import logs, settings
from service.app import build
from service.cli.commands import Commands, add_command
from service.server import run, serve


def add_to(commands: Commands) -> None:
    """Declare both."""
    parser = add_command(
        commands,
        "serve",
        summary="serve the API and publish the events",
        example="DATABASE_URL=postgresql://… KAFKA_BOOTSTRAP_SERVERS=kafka:9092 projectkeys serve",
        run=lambda options: _run(options, api=True),
    )
    _add_options(parser)
    parser.add_argument(
        "--no-publish",
        dest="publish",
        action="store_false",
        help="leave the events in the outbox, for `publish` or for change-data capture",
    )
    parser = add_command(
        commands,
        "publish",
        summary="publish the events, without the API",
        example="OPS_PORT=8082 projectkeys publish",
        run=lambda options: _run(options, api=False),
    )
    parser.set_defaults(publish=True)
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--create-topic", action="store_true", help="create the topic if Kafka does not have it"
    )


def _run(options: argparse.Namespace, *, api: bool) -> int:
    read = settings.read()
    writer = logs.configure(level=read.log_level, form=read.log_format)
    try:
        run(serve(build(read), create_topic=options.create_topic, api=api, publish=options.publish))
    finally:
        writer.flush()
    return 0
