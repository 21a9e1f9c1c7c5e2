"""Programs that tests need beside Python: found, installed, or named in an error."""

from pathlib import Path

import pytest

from testkit.debian import MissingProgramError, require_program


async def test_a_program_that_exists_is_not_installed() -> None:
    """Its path is returned."""
    assert Path(await require_program("sh", package="dash")).name == "sh"


async def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not root reads which package to install."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingProgramError, match="apt-get install absent-package"):
        await require_program("absent-program", package="absent-package")


async def test_a_package_that_cannot_be_installed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the end of the output of apt-get."""
    apt_get = tmp_path / "apt-get"
    apt_get.write_text("#!/bin/sh\necho no network\nexit 100\n")
    apt_get.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(MissingProgramError, match="no network"):
        await require_program("absent-program", package="absent-package")
