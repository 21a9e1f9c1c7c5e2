"""`config`: the settings in force."""

from service import settings
from service.cli.commands import Commands, add_command, say


def add_to(commands: Commands) -> None:
    """Declare it."""
    add_command(
        commands,
        "config",
        summary="show every setting, its value in force and what it is for; secrets masked",
        example="PORT=9000 projectkeys config",
        run=lambda _: _show(),
    )


def _show() -> int:
    for name, value, description in settings.table(settings.read()):
        say(f"{name}={value}", f"    {description}")
    return 0
