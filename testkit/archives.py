"""Archives of this project: of a commit, or of its sources."""

import tarfile
from pathlib import Path


def extract(archive: tarfile.TarFile, directory: Path) -> None:
    """Extract every file of an archive of this project."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(directory, filter="data")
    else:  # before Python 3.11.4
        archive.extractall(directory)  # noqa: S202 -- the archive is our own
