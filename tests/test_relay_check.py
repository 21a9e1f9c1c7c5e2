"""The check of Relay, `make relay`, with a stand-in that performs the protocol; no Relay is run."""

import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from testkit import relay
from tests.browser import open_site
from tests.http_service import ORGANIZATION

_STAND_IN = [sys.executable, "-m", "testkit.relay_stand_in"]


def _configuration() -> dict[str, Any]:
    """Return the documented configuration with shorter times."""
    content = _DOCUMENTED()
    return {**content, "cache": dict.fromkeys(content["cache"], 0.3)}


_DOCUMENTED = relay.configuration


def test_the_documented_configuration_of_relay_has_its_settings() -> None:
    """Those that matter, in the sections that Relay reads."""
    assert relay.configuration() == {
        "relay": {"mode": "managed", "upstream": "https://relay-upstream.example.com/"},
        "http": {"forward": False},
        "cache": {"project_expiry": 10, "project_grace_period": 20},
    }


async def test_every_step_of_the_check_passes_with_a_stand_in(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, topic: str, tmp_path: Path
) -> None:
    """Fewer keys and shorter times than with Relay."""
    monkeypatch.setattr(relay, "configuration", _configuration)
    monkeypatch.setattr(relay, "NEW_KEYS", 3)
    monkeypatch.setattr(relay, "UNKNOWN_SECONDS", 1.5)
    [bootstrap], reports = settings.kafka_bootstrap_servers, list[str]()
    async with AsyncExitStack() as service:
        opened = await service.enter_async_context(open_site(replace(settings, kafka_topic=topic)))
        path = f"/api/0/projects/{ORGANIZATION}/pump-station/keys/"
        site = relay.Site(opened.service.settings.port, topic, opened.token, path)
        await relay.check(
            _STAND_IN, tmp_path, site, bootstrap=bootstrap, stop_service=service.aclose, report=reports.append
        )
    assert len(reports) == 5, reports


def test_without_the_program_nothing_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message and the exit code say so."""
    monkeypatch.delenv("RELAY_BINARY", raising=False)
    assert relay.main() == 2
    assert "no Relay was run" in capsys.readouterr().err
