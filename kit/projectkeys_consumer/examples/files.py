"""Keep one JSON file per key: ``python -m projectkeys_consumer.examples.files localhost:9092 /var/lib/keys``."""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from projectkeys_consumer import Change, ProjectKeys


async def mirror(keys: ProjectKeys, directory: Path) -> None:
    """Copy ``keys`` to ``directory`` while they are read; return when they are ready.

    Files are replaced atomically, so a reader never gets an incomplete file.
    """

    async def write(change: Change) -> None:
        path = directory / f"{change.public_key}.json"
        if change.state is None:
            path.unlink(missing_ok=True)
        else:
            new = path.with_suffix(".new")
            new.write_text(json.dumps(dataclasses.asdict(change.state), default=str))
            new.replace(path)

    keys.on_change(write, include_existing=True)
    await keys.ready()
    _remove_unknown(directory, set(keys.public_keys()))


def _remove_unknown(directory: Path, known: set[str]) -> None:
    """Remove the files of keys that were deleted so long ago that the topic has no tombstone of them."""
    for path in directory.glob("*.json"):
        if path.stem not in known:
            path.unlink()


async def main(bootstrap_servers: str, directory: Path) -> None:
    """Mirror the keys until cancelled; the directory must exist."""
    async with ProjectKeys(bootstrap_servers=bootstrap_servers, snapshot=directory / "snapshot") as keys:
        await mirror(keys, directory)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
