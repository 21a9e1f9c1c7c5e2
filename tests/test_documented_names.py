"""Paths, settings and metrics in the documentation are those of the service."""

import re
from typing import Final

from service.http.docs import asyncapi_page, swagger_page
from service.http.routes import RESOURCES
from service.settings import NAMES
from testkit.processes import ROOT

_PAGES: Final = [
    ROOT / "README.md",
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("deploy/*.md"),
    ROOT / "faults" / "README.md",
]
_TEXT: Final = "\n".join(page.read_text() for page in _PAGES)
_OTHER_NAMES: Final = {"BASE_DIGEST", "SASL_SSL"}
"""Names in upper case that are not settings: a build argument of the image, a protocol of Kafka."""


def test_the_table_of_resources_is_complete() -> None:
    """Every path with its methods, and no others."""
    rows = re.findall(
        r"^\| ((?:`[A-Z]+` )+)\| `(/[^`]*)` \|", (ROOT / "docs" / "http-api.md").read_text(), re.MULTILINE
    )
    documented = {path: set(re.findall("[A-Z]+", methods)) for methods, path in rows}
    shorter = {"{organization}": "{org}", "{key_id}": "{key}", "{key_name}": "{name}"}
    served = {}
    for resource in RESOURCES:
        path = resource.path.removeprefix("/api/0")
        for long, short in shorter.items():
            path = path.replace(long, short)
        served[path] = set(resource.methods)
    assert documented == served


def test_the_paths_of_the_documents_are_named() -> None:
    """The OpenAPI and the AsyncAPI document, and their pages."""
    for path in (swagger_page.DOCUMENT, swagger_page.PAGE, asyncapi_page.DOCUMENT, asyncapi_page.PAGE):
        assert f"{path}`" in _TEXT


def test_the_architecture_page_describes_every_package() -> None:
    """Every package and module of the service, and every directory of Python code beside it."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    parts = [path for path in (ROOT / "service").iterdir() if not path.name.startswith("__")]
    names = [f"service/{path.name}" for path in parts if path.is_dir() or path.suffix == ".py"]
    names += [path.parent.name for path in ROOT.glob("*/__init__.py")]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_setting_in_the_text_exists() -> None:
    """Names in upper case with an underscore."""
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", _TEXT))
    assert named - NAMES - {f"{name}_FILE" for name in NAMES} - _OTHER_NAMES == set()


def test_every_metric_in_the_text_exists() -> None:
    """Names that begin with the prefix of the metrics; `_total` is added by the library."""
    source = (ROOT / "service" / "metrics.py").read_text()
    named = set(re.findall(r"`projectkeys_((?:outbox|http|job|publish|publisher|background|pool)_\w+)", _TEXT))
    assert len(named) > 5
    declared = {name.removesuffix("_total").rstrip("_") for name in named}
    assert [name for name in declared if f'"projectkeys_{name}' not in source] == []
