"""`serve` and `publish`."""

import argparse

from service.app import build
from service.cli.commands import Commands, add_command
from service.environment import read
from service.process import run
from service.server import serve
from service.settings import Settings


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    parser = add_command(
        commands,
        "serve",
        summary="run the API and the publisher",
        example="DATABASE_URL=postgresql://… KAFKA_BOOTSTRAP_SERVERS=kafka:9092 projectkeys serve",
        run=lambda options: _run(options, api=True),
    )
    _add_options(parser)
    parser.add_argument(
        "--no-publish",
        dest="publish",
        action="store_false",
        help="do not publish: events stay in the outbox for `projectkeys publish` or for change data capture",
    )
    parser = add_command(
        commands,
        "publish",
        summary="run the publisher without the API",
        example="OPS_PORT=8082 projectkeys publish",
        run=lambda options: _run(options, api=False),
    )
    parser.set_defaults(publish=True)
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--create-topic", action="store_true", help="create the topic if it does not exist")


def _run(options: argparse.Namespace, *, api: bool) -> None:
    settings = read(Settings)

    async def start() -> None:
        await serve(build(settings), create_topic=options.create_topic, api=api, publish=options.publish)

    run(settings, start)
