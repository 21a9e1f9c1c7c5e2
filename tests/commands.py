"""Runs commands in this process."""

import asyncio

from service.cli.main import main


async def run(*arguments: str) -> int:
    """Run a command in a thread, with an event loop of its own; return the exit code."""
    try:
        return await asyncio.to_thread(main, arguments)
    except SystemExit as error:  # argparse
        return int(error.code or 0)
