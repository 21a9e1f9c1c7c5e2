"""Reads release 0.1.0 from the history of the repository."""

import io
import subprocess
import tarfile
from pathlib import Path

from testkit.archives import extract

_ROOT = Path(__file__).parents[1]
_COMMIT = "f0e927d"


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, check=False)  # noqa: S603, S607 -- fixed arguments
    assert done.returncode == 0, (
        f"commit {_COMMIT} (release 0.1.0) is needed from the history, which a shallow clone lacks: "
        f"run `git fetch --unshallow`\n{done.stderr.decode()}"
    )
    return done.stdout


def released_schema() -> str:
    """Return schema.sql of release 0.1.0."""
    return _git("show", f"{_COMMIT}:schema.sql").decode()


def unpack_release(directory: Path) -> None:
    """Write the package of release 0.1.0 into ``directory``."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", _COMMIT, "service", "schema.sql"))) as archive:
        extract(archive, directory)
