"""Reads earlier commits of this project from its history."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from testkit.archives import extract
from testkit.processes import ROOT

RELEASE_0_1_0: Final = "f0e927d"
"""The commit of release 0.1.0, with which tests and benchmarks compare."""


class MissingCommitError(Exception):
    """The clone does not contain a commit; the message says how to get it."""


def read_file(commit: str, path: str) -> str:
    """Return a file of a commit.

    Raises:
        MissingCommitError: The clone does not contain the commit or the file.
    """
    return _git("show", commit, f"{commit}:{path}").decode()


def extract_commit(commit: str, directory: Path, *paths: str) -> None:
    """Write the files of a commit, or those of ``paths``, into a directory.

    Raises:
        MissingCommitError: The clone does not contain the commit.
    """
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, commit, *paths))) as archive:
        extract(archive, directory)


def _git(command: str, commit: str, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", ROOT, command, *arguments], capture_output=True, check=False)  # noqa: S607 -- fixed arguments
    if done.returncode:
        raise MissingCommitError(
            f"commit {commit} is not in this clone; a complete clone has it: git fetch --unshallow\n"
            f"{done.stderr.decode()}"
        )
    return done.stdout
