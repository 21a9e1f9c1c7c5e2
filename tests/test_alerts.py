"""The alerts in deploy/ and the metrics of the service."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from service.app import build
from service.settings import Settings

_FILE = Path(__file__).resolve().parent.parent / "deploy" / "alerts.yaml"
_NAME = re.compile(r"\bprojectkeys_\w+")


def rules() -> list[dict[str, Any]]:
    """Return every rule of the file."""
    groups = yaml.safe_load(_FILE.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def served() -> str:
    """The metrics of a process that was just built."""
    return generate_latest(build(Settings(database_url="postgresql://nowhere")).registry).decode()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_use_existing_metrics(rule: dict[str, Any], served: str) -> None:
    """An alert with a misspelt metric would never fire."""
    texts = [rule["expr"], *rule["annotations"].values()]
    names = {name for text in texts for name in _NAME.findall(text)}
    kinds = {name.removesuffix("_count").removesuffix("_total") for name in names}
    assert [name for name in kinds if not re.search(rf"(?m)^# TYPE {name}(_total)? ", served)] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_have_a_severity_a_summary_and_an_action(rule: dict[str, Any]) -> None:
    """Nothing else."""
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"].endswith(".")
