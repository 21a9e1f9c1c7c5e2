"""A download of jars: one after another, tried again when the network fails, given up at once on Ctrl-C."""

import asyncio
import itertools
import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.dev.errors import EmbeddedServerError

_ATTEMPTS = 4
_BACK_OFF = 0.5  # seconds before the second attempt, doubled for each further one, with jitter
_SILENCE = 20  # seconds without a byte after which an attempt has failed
_PREFIX = "partial-"


class _GivenUpError(Exception):
    """The download was given up."""


class Download:
    """A download under way.

    Args:
        directory: Where unfinished files lie meanwhile, each in a directory of its own.
        admit: Takes a finished jar away, or raises what ends the whole download.
        progress: Is told of each number of bytes that have come.
    """

    def __init__(
        self,
        directory: Path,
        *,
        admit: Callable[[str, Path], None],
        progress: Callable[[int], object],
    ) -> None:
        self._directory = directory
        self._admit = admit
        self._progress = progress
        self._given_up = threading.Event()

    async def run(self, coordinates: Iterable[str]) -> None:
        """Bring jars, each named as `group:artifact:version`.

        Raises:
            EmbeddedServerError: A jar could not be had.
        """
        for left_over in self._directory.glob(f"{_PREFIX}*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        try:
            await asyncio.to_thread(self._bring_all, list(coordinates))
        finally:
            self._given_up.set()  # a thread cannot be cancelled: it looks here with every piece of a file

    def _bring_all(self, coordinates: list[str]) -> None:
        for coordinate in coordinates:
            self._bring(coordinate)

    def _bring(self, coordinate: str) -> None:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=self._directory) as place:
            self._admit(coordinate, self._fetch(coordinate, Path(place)))

    def _fetch(self, coordinate: str, place: Path) -> Path:
        for attempt in itertools.count(1):
            try:
                return self._fetch_once(coordinate, place / str(attempt))
            except (OSError, RuntimeError) as error:  # what jgo raises when the network fails
                if attempt == _ATTEMPTS:
                    raise EmbeddedServerError(f"The jar {coordinate} cannot be had: {error}") from error
            pause = _BACK_OFF * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 -- no secret
            if self._given_up.wait(pause):
                break
        raise _GivenUpError

    def _fetch_once(self, coordinate: str, place: Path) -> Path:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 -- takes 0.4 s; rarely needed

        group, artifact, version = coordinate.split(":")
        resolver = PythonResolver(progress_callback=self._counted)
        repository = MavenContext(resolver, repo_cache=place, timeout=_SILENCE)
        return Path(repository.project(group, artifact).at_version(version).artifact().resolve())

    @contextmanager
    def _counted(self, _file: str, _size: int) -> Iterator[Callable[[int], None]]:
        def count(size: int) -> None:
            if self._given_up.is_set():
                raise _GivenUpError
            self._progress(size)

        yield count
