"""Every key in a file of its own: ``python -m service.consumer.examples.files localhost:9092 /var/lib/keys``."""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from service.consumer import Change, ProjectKeys


async def mirror(keys: ProjectKeys, directory: Path) -> None:
    """Keep ``directory`` like ``keys``, for as long as those are read; returns once they are ready.

    A file is replaced whole, so that whoever reads it never finds half of one.
    """

    async def write(change: Change) -> None:
        path = directory / f"{change.public_key}.json"
        if change.state is None:
            path.unlink(missing_ok=True)
        else:
            new = path.with_suffix(".new")
            new.write_text(json.dumps(dataclasses.asdict(change.state), default=str))
            new.replace(path)

    keys.on_change(write, everything=True)
    await keys.ready()
    _sweep(directory, set(keys.public_keys()))


def _sweep(directory: Path, known: set[str]) -> None:
    """Remove keys that were deleted so long ago that nobody tells of it any more."""
    for path in directory.glob("*.json"):
        if path.stem not in known:
            path.unlink()


async def main(bootstrap_servers: str, directory: Path) -> None:
    """Mirror until ended; the directory must be there."""
    async with ProjectKeys(bootstrap_servers=bootstrap_servers, snapshot=directory / "snapshot") as keys:
        await mirror(keys, directory)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
