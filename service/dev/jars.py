"""The jars of Apache Kafka: fetched once, kept in a cache, used only if each is what the list says."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from service.dev import lock
from service.dev.download import Download
from service.dev.errors import EmbeddedServerError

_LIST = Path(__file__).with_name("kafka-jars.txt")
_PATIENCE = 600.0  # seconds for another process that fetches the same jars


@dataclass(frozen=True, slots=True)
class Jar:
    """A jar of the committed list; `coordinate` is `group:artifact:version`, `size` is in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def listed_jars() -> list[Jar]:
    """Return the committed list, in the order of the class path."""
    lines = (line.split() for line in _LIST.read_text().splitlines() if not line.startswith("#"))
    return [Jar(coordinate, sha256, int(size)) for sha256, size, coordinate in lines]


async def fetched_jars(cache: Path, *, report: Callable[[str], None]) -> list[Path]:
    """Return the paths of all jars, each just proven by its hash; those that the cache lacks are downloaded.

    Args:
        cache: The directory that keeps the jars; made if it is not there.
        report: Is told of a download.

    Raises:
        EmbeddedServerError: A jar could not be had, or has the wrong hash.
    """
    jars = listed_jars()
    missing = await asyncio.to_thread(missing_jars, jars, cache)
    if missing:
        size = sum(jar.size for jar in missing) / 1e6
        report(f"Downloading Apache Kafka, once: {len(missing)} jars, {size:.0f} MB ...")
        held = await lock.take(cache, patience=_PATIENCE)
        try:
            # Once more: another process may have brought them while this one waited for the lock.
            await _bring(await asyncio.to_thread(missing_jars, jars, cache), cache)
        finally:
            os.close(held)
    return [cache / jar.file_name for jar in jars]


async def _bring(jars: list[Jar], cache: Path) -> None:
    wanted = {jar.coordinate: jar for jar in jars}
    size = sum(jar.size for jar in jars)
    with tqdm(total=size, unit="B", unit_scale=True, leave=False, disable=None) as bar:  # only on a terminal
        download = Download(
            cache,
            admit=lambda coordinate, file: admit(file, wanted[coordinate], cache),
            progress=bar.update,
        )
        await download.run(wanted)


def missing_jars(jars: Iterable[Jar], cache: Path) -> list[Jar]:
    """Return the jars that the cache does not hold, or holds with another hash."""
    return [jar for jar in jars if not _is_genuine(cache / jar.file_name, jar)]


def admit(file: Path, jar: Jar, cache: Path) -> None:
    """Move a downloaded file to its place in the cache if it is the jar that it should be.

    Raises:
        EmbeddedServerError: It has another hash.
    """
    if not _is_genuine(file, jar):
        raise EmbeddedServerError(
            f"The download of the jar {jar.coordinate} was refused: "
            f"its SHA-256 is not the one in {_LIST.name} ({jar.sha256})."
        )
    file.replace(cache / jar.file_name)


def _is_genuine(file: Path, jar: Jar) -> bool:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False
