"""The jars of Apache Kafka: downloaded once to a cache, and verified by the hashes in kafka-jars.txt."""

import asyncio
import hashlib
import itertools
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from projectkeys_servers import lock
from projectkeys_servers.errors import EmbeddedServerError

_LIST = Path(__file__).with_name("kafka-jars.txt")
_LOCK_TIMEOUT = 600.0  # seconds, while another process downloads the same jars
_ATTEMPTS = 4
_BACKOFF = 0.5  # seconds before the second attempt, doubled for each further one, with jitter
_READ_TIMEOUT = 20  # seconds
_PREFIX = "partial-"


@dataclass(frozen=True, slots=True)
class Jar:
    """An entry of kafka-jars.txt; `coordinate` is `group:artifact:version`, `size` is in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """The file name of the jar in the cache."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_jar_list() -> list[Jar]:
    """Return the entries of kafka-jars.txt, in the order of the class path."""
    lines = (line.split() for line in _LIST.read_text().splitlines() if not line.startswith("#"))
    return [Jar(coordinate, sha256, int(size)) for sha256, size, coordinate in lines]


async def fetch_jars(cache: Path, *, report: Callable[[str], None]) -> list[Path]:
    """Download the jars that the cache does not have; return the paths of all. Every hash is verified.

    Args:
        cache: The directory of the jars, which is created if it does not exist.
        report: Receives a message to the user before a download.

    Raises:
        EmbeddedServerError: A jar cannot be downloaded, or has the wrong hash.
    """
    jars = read_jar_list()
    missing = await asyncio.to_thread(find_missing_jars, jars, cache)
    if missing:
        size = sum(jar.size for jar in missing) / 1e6
        report(f"Downloading Apache Kafka, once: {len(missing)} jars, {size:.0f} MB ...")
        lock_fd = await lock.take(cache, limit=_LOCK_TIMEOUT)
        try:
            # Read the cache again: another process can have downloaded jars while this one waited for the lock.
            await _download(await asyncio.to_thread(find_missing_jars, jars, cache), cache)
        finally:
            os.close(lock_fd)
    return [cache / jar.file_name for jar in jars]


def find_missing_jars(jars: Iterable[Jar], cache: Path) -> list[Jar]:
    """Return the jars that the cache does not have or has with another hash."""
    return [jar for jar in jars if not _has_hash_of(jar, cache / jar.file_name)]


def move_to_cache(file: Path, jar: Jar, cache: Path) -> None:
    """Verify a downloaded file and move it to the cache.

    Raises:
        EmbeddedServerError: The file has the wrong hash.
    """
    if not _has_hash_of(jar, file):
        raise EmbeddedServerError(
            f"The downloaded jar {jar.coordinate} was rejected: its SHA-256 hash differs from the hash in "
            f"{_LIST.name} ({jar.sha256})."
        )
    file.replace(cache / jar.file_name)


def _has_hash_of(jar: Jar, file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


async def _download(jars: list[Jar], cache: Path) -> None:
    size = sum(jar.size for jar in jars)
    with tqdm(total=size, unit="B", unit_scale=True, leave=False, disable=None) as bar:  # only on a terminal
        download = _Download(cache, bar.update)
        try:
            await asyncio.to_thread(download.run, jars)
        finally:
            download.cancelled.set()


class _CancelledError(Exception):
    """The download was cancelled."""


class _Download:
    """A download in a thread; it ends when ``cancelled`` is set, since a thread cannot be cancelled."""

    def __init__(self, cache: Path, progress: Callable[[int], object]) -> None:
        self.cancelled = threading.Event()
        self._cache = cache
        self._progress = progress

    def run(self, jars: Iterable[Jar]) -> None:
        """Download jars one after the other and move them to the cache.

        Raises:
            EmbeddedServerError: A jar cannot be downloaded, or has the wrong hash.
        """
        for leftover in self._cache.glob(f"{_PREFIX}*"):  # a killed process leaves it
            shutil.rmtree(leftover, ignore_errors=True)
        for jar in jars:
            with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=self._cache) as directory:
                move_to_cache(self._fetch(jar.coordinate, Path(directory)), jar, self._cache)

    def _fetch(self, coordinate: str, directory: Path) -> Path:
        for attempt in itertools.count(1):
            try:
                return self._fetch_once(coordinate, directory / str(attempt))
            except (OSError, RuntimeError) as error:  # jgo raises both when the network fails
                if attempt == _ATTEMPTS:
                    raise EmbeddedServerError(f"The jar {coordinate} cannot be downloaded: {error}") from error
            pause = _BACKOFF * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter is not secret
            if self.cancelled.wait(pause):
                break
        raise _CancelledError

    def _fetch_once(self, coordinate: str, directory: Path) -> Path:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 -- takes 0.4 s and is rarely needed

        group, artifact, version = coordinate.split(":")
        resolver = PythonResolver(progress_callback=self._progress_callback)
        repository = MavenContext(resolver, repo_cache=directory, timeout=_READ_TIMEOUT)
        return Path(repository.project(group, artifact).at_version(version).artifact().resolve())

    @contextmanager
    def _progress_callback(self, _file: str, _size: int) -> Iterator[Callable[[int], None]]:
        def add(size: int) -> None:
            if self.cancelled.is_set():
                raise _CancelledError
            self._progress(size)

        yield add
