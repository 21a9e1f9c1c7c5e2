"""`edge`."""

from service import logs
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
        run=lambda _: _run(),
    )


def _run() -> int:
    settings = read(EdgeProcessSettings)
    writer = logs.configure(level=settings.log_level, form=settings.log_format)
    try:
        run(_serve(settings))
    finally:
        writer.flush()
    return 0


async def _serve(settings: EdgeProcessSettings) -> None:
    await serve_edge(build_edge(settings))  # the consumer kit and locks need a running loop
