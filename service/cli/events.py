"""`events …`: the group of the commands that watch and look after the events."""

from service.cli import parked, reconcile, replay, tail
from service.cli.commands import Commands, add_command


def add_to(commands: Commands) -> None:
    """Declare them."""
    group = add_command(
        commands, "events", summary="watch and look after the events", example="projectkeys events tail"
    ).add_subparsers(metavar="COMMAND", required=True)
    tail.add_to(group)
    parked.add_to(group)
    replay.add_to(group)
    reconcile.add_to(group)
