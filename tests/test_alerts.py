"""The alerts under deploy/ against the figures that the service serves."""

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
    """Every rule of the file."""
    groups = yaml.safe_load(_FILE.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def served() -> str:
    """What a process serves that has just been joined: each figure's name and help."""
    return generate_latest(build(Settings(database_url="postgresql://nowhere")).registry).decode()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_rests_on_figures_that_are_served(rule: dict[str, Any], served: str) -> None:
    """A misspelt name would never fire."""
    texts = [rule["expr"], *rule["annotations"].values()]
    names = {name for text in texts for name in _NAME.findall(text)}
    kinds = {name.removesuffix("_count").removesuffix("_total") for name in names}
    assert [name for name in kinds if not re.search(rf"(?m)^# TYPE {name}(_total)? ", served)] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_the_matter_and_what_to_do(rule: dict[str, Any]) -> None:
    """And how soon."""
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"].endswith(".")
