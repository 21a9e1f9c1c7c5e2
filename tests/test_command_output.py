"""The output of commands: pipes that end, full disks, and encodings without all characters."""

import os
import subprocess
import sys
from typing import IO

from testkit.processes import ROOT

_TIMEOUT = 30.0


def _config(output: int | IO[bytes], **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "service", "config"],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.PIPE,
        timeout=_TIMEOUT,
        check=False,
    )


def test_a_command_ends_silently_when_the_reader_of_its_output_has_ended() -> None:
    """As with `| head -1`."""
    reads, writes = os.pipe()
    os.close(reads)
    ended = _config(writes)
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_an_output_that_cannot_be_written_is_reported() -> None:
    """In one line, with the reason."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 -- a device
        ended = _config(full)
    assert ended.returncode == 1
    assert ended.stderr == b"projectkeys: the output cannot be written: No space left on device\n"


def test_characters_that_the_output_cannot_encode_are_escaped() -> None:
    """A name in any language does not end a command."""
    ended = _config(subprocess.PIPE, KAFKA_SASL_USERNAME="Z\u00fcrich \U0001f511", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert rb"KAFKA_SASL_USERNAME=Z\xfcrich \U0001f511" in ended.stdout
