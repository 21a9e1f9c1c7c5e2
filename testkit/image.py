"""Executes deploy/Dockerfile in an empty root without a container engine, and starts the result (`make kube`).

The base image is replaced by this machine's programs and Python, which the steps see through an overlay: they change
nothing outside of the root. Needs root and the network.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from projectkeys_servers.ports import free_port
from testkit.processes import ROOT

_STEP_TIMEOUT: Final = 600.0  # seconds
_START_TIMEOUT: Final = 30.0  # seconds
_BASE: Final = ("/usr", "/etc", sys.base_prefix)
_LINKS: Final = ("bin", "sbin", "lib", "lib64")


@dataclass
class Stage:
    """A stage: its directory, and what its instructions have set so far."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Its root directory."""
        return self.directory / "root"

    def command(self, *program: str, read_only: bool = False) -> list[str]:
        """Return a command that runs a program in the root, as the stage's user, in namespaces of its own."""
        mounts = [f"mount --bind {self.root} {self.root}", f"mount --rbind /dev {self.root}/dev"]
        for number, base in enumerate(_BASE):
            upper, work = self.directory / f"upper{number}", self.directory / f"work{number}"
            layers = f"lowerdir={base},upperdir={upper},workdir={work}"
            if read_only:
                layers = f"lowerdir={upper}:{base}"
            mounts.append(f"mount -t overlay overlay -o {layers} {self.root}{base}")
        mounts.append(f"mount -t proc proc {self.root}/proc")
        if read_only:
            mounts.append(f"mount -o remount,bind,ro {self.root}")
        path = self.environment.get("PATH", _path())
        variables = [f"{name}={value}" for name, value in (_passed() | self.environment | {"PATH": path}).items()]
        user, _, group = self.user.partition(":")
        inner = shlex.join(
            [
                *("chroot", str(self.root), "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}"),
                *("--clear-groups", "--no-new-privs", "/usr/bin/env", "-i", f"--chdir={self.workdir}"),
                *variables,
                *program,
            ]
        )
        script = " && ".join([*mounts, f"exec {inner}"])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]

    def create(self) -> None:
        """Create the empty root with the directories of the base image."""
        for name in ("dev", "proc", "tmp", *(base.lstrip("/") for base in _BASE)):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for number, _ in enumerate(_BASE):
            (self.directory / f"upper{number}").mkdir()
            (self.directory / f"work{number}").mkdir()
        for name in _LINKS:
            (self.root / name).symlink_to(f"usr/{name}")


def _path() -> str:
    return f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"


def _passed() -> dict[str, str]:
    """Return the variables that lead to the package index of this machine."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the instructions of the Dockerfile with their arguments."""
    text = re.sub(r"(?m)^#.*\n|\\\n", "", (ROOT / "deploy" / "Dockerfile").read_text())
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        yield name, arguments.strip()


def build(directory: Path) -> Stage:
    """Execute the Dockerfile and return the last stage.

    Raises:
        subprocess.CalledProcessError: A step failed.
    """
    stages: dict[str, Stage] = {}
    stage = Stage(directory)
    for name, arguments in instructions():
        if name == "FROM":
            label = arguments.partition(" AS ")[2] or "final"
            stage = stages[label] = Stage(directory / label)
            stage.create()
        elif name == "ENV":
            for variable, _, value in (each.partition("=") for each in shlex.split(arguments)):
                stage.environment[variable] = value.replace("${PATH}", _path())
        elif name == "WORKDIR":
            stage.workdir = arguments
            (stage.root / arguments.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            _copy(stage, stages, arguments.split())
        elif name == "RUN":
            subprocess.run(stage.command("sh", "-c", arguments), check=True, timeout=_STEP_TIMEOUT)
        elif name == "USER":
            stage.user = arguments
        elif name in {"ENTRYPOINT", "CMD"}:
            stage.entrypoint += re.findall(r'"([^"]+)"', arguments)
    return stage


def _copy(stage: Stage, stages: dict[str, Stage], arguments: list[str]) -> None:
    source = ROOT
    if arguments[0].startswith("--from="):
        source = stages[arguments.pop(0).removeprefix("--from=")].root
    *names, target = arguments
    base = stage.root / stage.workdir.lstrip("/")
    destination = stage.root / target.lstrip("/") if target.startswith("/") else base / target
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            if source != ROOT:
                ignored = None  # type: ignore[assignment]  # -- compiled files belong to the image
            shutil.copytree(path, destination, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            destination.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, destination)


def check(stage: Stage) -> None:
    """Start the image read-only as its user: it must respond, and must not be able to write or to install."""
    port = free_port()
    stage.environment |= {
        "DATABASE_URL": "postgresql://service@127.0.0.1:1/keys",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PORT": "0",
        "OPS_PORT": str(port),
        "HOST": "127.0.0.1",
    }
    process = subprocess.Popen(
        stage.command(*stage.entrypoint, read_only=True), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5):
                    break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    for forbidden in (
        "touch /file",
        "touch /tmp/file",
        "touch /opt/projectkeys/file",
        "python -m pip",
        "hatchling",
    ):
        done = subprocess.run(stage.command("sh", "-c", forbidden, read_only=True), capture_output=True, check=False)
        assert done.returncode, forbidden
    bill = json.loads((stage.root / "opt" / "projectkeys" / "sbom.cdx.json").read_text())
    assert {"projectkeys", "aiohttp"} <= {component["name"] for component in bill["components"]}


def main() -> None:
    """Build, check, and print the size of what the image adds to its base."""
    with tempfile.TemporaryDirectory() as directory:
        stage = build(Path(directory))
        check(stage)
        added = stage.root / "opt"
        files = [path for path in added.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        print(f"The image starts read-only as {stage.user}; it adds {size / 1e6:.0f} MB to its base.")  # noqa: T201 -- its output


if __name__ == "__main__":
    main()
