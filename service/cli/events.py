"""The group `events`."""

from service.cli import parked, reconcile, replay, tail
from service.cli.commands import Commands, add_group


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    group = add_group(
        commands, "events", summary="print, replay and check events", example="projectkeys events tail", note=""
    )
    tail.add_to(group)
    parked.add_to(group)
    replay.add_to(group)
    reconcile.add_to(group)
