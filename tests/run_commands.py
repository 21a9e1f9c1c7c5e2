"""`python -m tests.run_commands JSON`: runs several `projectkeys` commands in one process, which imports once.

The argument is a list of argument lists; the output is a list of pairs, exit code and standard error. The commands
can write no file outside of the directory TMPDIR, as in a container with a read-only root.
"""

import contextlib
import io
import json
import os
import sys

from service.cli.main import main
from tests.read_only import make_read_only


def _run(words: list[str]) -> tuple[int, str]:
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = main(words)
    return code, errors.getvalue()


if __name__ == "__main__":
    make_read_only(writable=[os.environ["TMPDIR"]])
    print(json.dumps([_run(words) for words in json.loads(sys.argv[1])]))  # noqa: T201 -- a program's output
