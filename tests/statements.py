"""Every SQL statement of the service, found in its source: new ones come along by themselves."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import service.postgres

_PACKAGE = Path(service.postgres.__file__).parent
_SERVICE = _PACKAGE.parent
_VERB = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s")
_TABLE = re.compile(r"\b(FROM|JOIN|INTO|UPDATE|USING)\s+\w")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it is sent, under the module's and the constant's name."""

    name: str
    text: str

    @property
    def words(self) -> str:
        """The statement on one line."""
        return " ".join(self.text.split())


def statements() -> list[Statement]:
    """Each constant of ``service/postgres`` that is a statement, with all its parts in place."""
    return [
        Statement(f"{path.stem}.{name}", text)
        for path in _modules()
        for name, text in vars(import_module(f"service.postgres.{path.stem}")).items()
        if name in _constants(path) and isinstance(text, str) and _VERB.match(text)
    ]


def stray_statements() -> list[str]:
    """Where a text that looks like a statement on a table is no constant of that package: it would not be checked.

    The embedded server's own start is left out: there are no tables yet.
    """
    return [
        f"{path.relative_to(_SERVICE)}:{node.lineno}"
        for path in sorted(_SERVICE.rglob("*.py"))
        if path.parent.name != "dev"
        for node in _texts(ast.parse(path.read_text()), constants=path.parent != _PACKAGE)
        if _VERB.match(text := _fixed_part(node)) and _TABLE.search(text)
    ]


def _modules() -> list[Path]:
    return sorted(path for path in _PACKAGE.glob("*.py") if path.stem != "__init__")


def _constants(path: Path) -> set[str]:
    return {
        node.target.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _texts(module: ast.Module, *, constants: bool) -> Iterator[ast.Constant | ast.JoinedStr]:
    for node in module.body:
        if constants or not isinstance(node, ast.AnnAssign):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant | ast.JoinedStr):
                    yield part


def _fixed_part(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
