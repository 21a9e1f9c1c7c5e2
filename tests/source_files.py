"""Reads the files of the repository."""

import subprocess

from testkit.processes import ROOT


def source_texts(*paths: str) -> dict[str, str]:
    """Return the text of each file below ``paths`` by its path; ignored and binary files are left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()  # noqa: S603 -- fixed arguments
    contents = {name: (ROOT / name).read_bytes() for name in names.split("\0") if (ROOT / name).is_file()}
    return {name: content.decode() for name, content in contents.items() if b"\0" not in content}
