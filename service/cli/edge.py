"""`edge`."""

import argparse

from service.cli.commands import Commands, add_command
from service.edge.process import build_edge, serve_edge
from service.environment import read
from service.process import run
from service.settings import EdgeProcessSettings


def add_to(commands: Commands) -> None:
    """Declare the command."""
    add_command(
        commands,
        "edge",
        summary="serve the keys of the topic to relays, proxies and look-ups, without the database",
        example="KAFKA_BOOTSTRAP_SERVERS=kafka:9092 EDGE_SNAPSHOT=keys.snapshot projectkeys edge",
        run=_run,
    )


def _run(_options: argparse.Namespace) -> None:
    settings = read(EdgeProcessSettings)

    async def serve() -> None:
        await serve_edge(build_edge(settings))  # the consumer kit and locks need a running loop

    run(settings, serve)
