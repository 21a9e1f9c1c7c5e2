"""The temporary database of `events reconcile` and `import`, in a container without a writable directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from testkit.processes import ROOT

_PROGRAM = """
import sys
from service.domain.errors import CommandError
from service.usecases.temporary_database import TemporaryStore
from tests.read_only import make_read_only

class Store(TemporaryStore):
    schema = "PRAGMA cache_size = 10; CREATE TABLE text (value)"

    def fill(self):
        self._file.executemany("INSERT INTO text VALUES (?)", (["x" * 1000] for _ in range(10_000)))
        return self._file.execute("SELECT count(*) FROM text").fetchone()[0]

make_read_only(writable=sys.argv[1:])
try:
    with Store.open() as store:
        print(store.fill())
except CommandError as error:
    print(error)
"""


@pytest.mark.parametrize("is_writable", [True, False])
def test_a_database_that_exceeds_its_cache_needs_a_writable_directory(tmp_path: Path, *, is_writable: bool) -> None:
    """Without one the command ends with a sentence that names the variable to set."""
    completed = subprocess.run(  # noqa: S603 -- a constant program
        [sys.executable, "-c", _PROGRAM, *([str(tmp_path)] if is_writable else [])],
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    if is_writable:
        assert completed.stdout == "10000\n"
        assert list(tmp_path.iterdir()) == []
    else:
        assert completed.stdout.startswith("no temporary file can be written (")
        assert completed.stdout.endswith("): set TMPDIR to a writable directory with enough space\n")
