"""The generated files: they follow from values.yaml, the templates, the settings and the panels."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from testkit.chart import dashboard, schema
from testkit.chart.helm import CHART, objects_in, render_text
from testkit.chart.values import as_table, read_values
from testkit.processes import ROOT

DEPLOY: Final = ROOT / "deploy"
MANIFESTS: Final = DEPLOY / "manifests"
MANIFEST_VALUES: Final = DEPLOY / "manifests.values.yaml"
_HEAD: Final = "# Rendered from deploy/chart by `make chart`.\n"
_SOURCE: Final = r"(?m)^---\n# Source: projectkeys/templates/(.+)\n"
_TABLE: Final = re.compile(r"(?s)(?<=<!-- values -->\n).*(?=<!-- end -->)")


def chart_files() -> dict[Path, str]:
    """Return the contents of the chart's generated files, without which it cannot be rendered."""
    readme = CHART / "README.md"
    return {
        CHART / "values.schema.json": schema.as_json(schema.build_schema()) + "\n",
        CHART / "files" / "dashboard.json": dashboard.as_json(),
        readme: _TABLE.sub(lambda _: as_table(read_values()), readme.read_text()),
    }


def rendered_files() -> dict[Path, str]:
    """Return the contents of the files that are rendered from the chart: the manifests and the command pod."""
    rendered = dict(_by_template(render_text(MANIFEST_VALUES, "--skip-tests")))
    files = {MANIFESTS / name: _HEAD + text for name, text in rendered.items()}
    only = ("--set", "command.enabled=true", "--show-only", "templates/command-pod.yaml")
    [(_, command_pod)] = _by_template(render_text(MANIFEST_VALUES, *only))
    return {**files, DEPLOY / "command-pod.yaml": _HEAD + command_pod}


def _by_template(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each template and its documents."""
    found: dict[str, list[str]] = {}
    _, *parts = re.split(_SOURCE, text)
    for name, document in zip(parts[::2], parts[1::2], strict=True):
        if objects_in(document):
            found.setdefault(name, []).append(document.strip() + "\n")
    for name, documents in found.items():
        yield name, "---\n".join(documents)


def write() -> list[Path]:
    """Write every generated file; return those that changed."""
    changed = [path for path, text in chart_files().items() if _write(path, text)]
    return [*changed, *(path for path, text in rendered_files().items() if _write(path, text))]


def _write(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True
