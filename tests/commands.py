"""Commands as an operator types them, in this process."""

import asyncio

from service.cli.main import main


async def run(*arguments: str) -> int:
    """The exit code of a command; it has a thread and a loop of its own."""
    try:
        return await asyncio.to_thread(main, arguments)
    except SystemExit as error:  # argparse
        return int(error.code or 0)
