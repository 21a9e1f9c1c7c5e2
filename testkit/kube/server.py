"""Builds and runs the API server of `apiserver/`."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from projectkeys_servers.ports import free_port
from testkit.kube.client import Client
from testkit.processes import ROOT, Process

VERSION: Final = "1.34.4"
"""The version of Kubernetes in `apiserver/go.mod`."""

_SOURCE: Final = Path(__file__).parent / "apiserver"
_BUILD_TIMEOUT: Final = 3600.0  # seconds; about ten minutes on two idle processors
_READY_TIMEOUT: Final = 120.0  # seconds


class KubeError(Exception):
    """There is no Go on this machine, or the API server cannot be built or started; the message has the reason."""


def build() -> Path:
    """Return the program, which is in the cache directory after the first build.

    Raises:
        KubeError: There is no Go, or the build failed.
    """
    program = ROOT / ".cache" / "kube" / f"apiserver-{VERSION}"
    if program.exists():
        return program
    if (go := shutil.which("go")) is None:
        raise KubeError("there is no Go on this machine; see https://go.dev/dl/")
    major, minor, _ = VERSION.split(".")
    package = "k8s.io/component-base/version"
    flags = f"-s -w -X {package}.gitVersion=v{VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    result = subprocess.run(
        [go, "build", "-C", _SOURCE, "-mod=readonly", "-ldflags", flags, "-o", program, "."],
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT,
        check=False,
    )
    if result.returncode:
        raise KubeError(result.stderr)
    return program


@contextmanager
def running_server(directory: Path) -> Iterator[Client]:
    """Run an API server during the block.

    Args:
        directory: An empty directory for its data, its certificate and its log.

    Raises:
        KubeError: It cannot be built, or is not ready in time.
    """
    port, token = free_port(), secrets.token_hex()
    key = directory / "service-account.key"
    key.write_bytes(
        rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (directory / "tokens").write_text(f'{token},admin,admin,"system:masters"\n')
    log = directory / "apiserver.log"
    command = [str(build()), str(directory / "etcd"), *_options(directory, port, key)]
    process = Process(command, environment={"HOME": str(directory)}, output=log)
    client = Client(port, token, directory / "certificates" / "apiserver.crt")
    try:
        if not client.wait_until_ready(_READY_TIMEOUT, is_running=lambda: process.running):
            raise KubeError(f"the API server is not ready: {log.read_text()[-2000:]}")
        yield client
    finally:
        process.kill()


def _options(directory: Path, port: int, key: Path) -> list[str]:
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={directory / 'tokens'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/16",
        # It would wait for a service account that a controller creates.
        "--disable-admission-plugins=ServiceAccount",
        f"--v={os.environ.get('KUBE_LOG_LEVEL', '0')}",
    ]
