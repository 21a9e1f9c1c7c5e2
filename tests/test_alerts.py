"""The alerts in deploy/: they use metrics of the service, and promtool evaluates each with recorded series."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from service.app import build
from service.edge.process import build_edge
from service.settings import Settings
from testkit.debian import require_program

_FILE = Path(__file__).resolve().parent.parent / "deploy" / "alerts.yaml"
_NAME = re.compile(r"\bprojectkeys_\w+")


def rules() -> list[dict[str, Any]]:
    """Return every rule of the file."""
    groups = yaml.safe_load(_FILE.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def served() -> str:
    """The metrics of both kinds of process, which were just built."""
    settings = Settings(database_url="postgresql://nowhere", usage=True)
    registries = build(settings).registry, build_edge(settings).registry
    return "".join(generate_latest(registry).decode() for registry in registries)


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
    assert set(rule["annotations"]) == {"summary", "action", "runbook_url"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"].endswith(".")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_have_a_section_in_the_runbooks(rule: dict[str, Any]) -> None:
    """The runbook's URL is relative to this repository; the chart adds the prefix."""
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"(?m)^## (\w+)$", (_FILE.parents[1] / page).read_text())
    assert (rule["alert"] in headings, anchor) == (True, rule["alert"].lower())


@dataclass(frozen=True)
class _Case:
    """Series of one sample a minute, in promtool's notation, and the summary of the alert after 20 minutes.

    An empty summary means that the alert does not fire.
    """

    alert: str
    series: dict[str, str]
    summary: str = ""


_REQUESTS = "projectkeys_http_request_duration_seconds_count"
_NO_REPLICA = "Prometheus receives metrics of no replica."
_OWNED = 'projectkeys_shards_owned{job="keys/keys",pod="a"}'
_CASES = [
    _Case("ProjectKeysServiceDown", {}, _NO_REPLICA),
    _Case("ProjectKeysServiceDown", {_OWNED: "6x10"}, _NO_REPLICA),
    _Case("ProjectKeysServiceDown", {_OWNED: "6x10 stale"}, _NO_REPLICA),
    _Case(
        "ProjectKeysServiceDown",
        {"projectkeys_edge_configs": "1x30"},
        "Prometheus receives metrics of no replica.",
    ),
    _Case("ProjectKeysServiceDown", {_OWNED: "6x10 stale", 'projectkeys_shards_owned{pod="b"}': "12x30"}),
    _Case(
        "ProjectKeysPostgresUnavailable",
        {
            'projectkeys_dependency_up{dependency="postgres",pod="a"}': "1x10 0x20",
            'projectkeys_dependency_up{dependency="postgres",pod="b"}': "0x30",
            'projectkeys_dependency_up{dependency="kafka",pod="a"}': "1x30",
        },
        "No replica can connect to Postgres.",
    ),
    _Case(
        "ProjectKeysPostgresUnavailable",
        {
            'projectkeys_dependency_up{dependency="postgres",pod="a"}': "1x30",
            'projectkeys_dependency_up{dependency="postgres",pod="b"}': "0x30",
        },
    ),
    _Case(
        "ProjectKeysEventsDelayed",
        {'projectkeys_outbox_oldest_age_seconds{pod="a"}': "0+60x30"},
        "The oldest unpublished event is 20m 0s old.",
    ),
    _Case("ProjectKeysEventsDelayed", {"projectkeys_outbox_oldest_age_seconds": "2x30"}),
    _Case(
        "ProjectKeysRequestsFailing",
        {f'{_REQUESTS}{{status="200"}}': "0+57x30", f'{_REQUESTS}{{status="503"}}': "0+3x30"},
        "5% of the requests fail with status 5xx.",
    ),
    _Case(
        "ProjectKeysRequestsFailing",
        {f'{_REQUESTS}{{status="200"}}': "0+999x30", f'{_REQUESTS}{{status="503"}}': "0+1x30"},
    ),
    _Case(
        "ProjectKeysEventsParked",
        {'projectkeys_outbox_parked{pod="a"}': "0x10 3x20", 'projectkeys_outbox_parked{pod="b"}': "0x30"},
        "Kafka rejects 3 events for good; they block the later events of their keys.",
    ),
    _Case("ProjectKeysEventsParked", {"projectkeys_outbox_parked": "0x30"}),
    _Case(
        "ProjectKeysBackgroundTaskRestarts",
        {'projectkeys_background_restarts_total{work="jobs"}': "0+1x30"},
        "Background tasks failed and were restarted 15 times in 15 minutes.",
    ),
    _Case(
        "ProjectKeysBackgroundTaskRestarts",
        {'projectkeys_background_restarts_total{work="jobs"}': "_x10 1+1x30"},  # counted from its first sample on
        "Background tasks failed and were restarted 11 times in 15 minutes.",
    ),
    _Case("ProjectKeysBackgroundTaskRestarts", {"projectkeys_background_restarts_total": "0x10 2x20"}),
    _Case(
        "ProjectKeysJobsFailing",
        {'projectkeys_job_failures_total{kind="replay",error="x"}': "0+1x30"},
        "Batches of a job failed 15 times in 15 minutes.",
    ),
    _Case("ProjectKeysJobsFailing", {"projectkeys_job_failures_total": "0x10 2x20"}),
    _Case(
        "ProjectKeysKeysExpiring",
        {'projectkeys_keys_expiring{pod="a"}': "3x30", 'projectkeys_keys_expiring{pod="b"}': "0x30"},
        "3 active keys expire within 7 days and have not been rotated.",
    ),
    _Case("ProjectKeysKeysExpiring", {"projectkeys_keys_expiring": "0x15 3x15"}),
    _Case(
        "ProjectKeysLogLinesDropped",
        {"projectkeys_log_lines_dropped_total": "0+10x30"},
        "The log lost 150 lines in 15 minutes.",
    ),
    _Case("ProjectKeysLogLinesDropped", {"projectkeys_log_lines_dropped_total": "7x30"}),
    _Case(
        "ProjectKeysUsageBehind",
        {'projectkeys_usage_reading{pod="a"}': "0x30", 'projectkeys_usage_reading{pod="b"}': "1x5 0x25"},
        "The outcomes of events are not counted.",
    ),
    _Case(
        "ProjectKeysUsageBehind",
        {
            "projectkeys_usage_reading": "1x30",
            'projectkeys_usage_lag_records{pod="a"}': "0x30",
            'projectkeys_usage_lag_records{pod="b"}': "0+20000x30",
        },
        "The outcomes of events are not counted.",
    ),
    _Case(
        "ProjectKeysUsageBehind",
        {"projectkeys_usage_reading": "1x5 0x3 1x22", "projectkeys_usage_lag_records": "9000x30"},
    ),
    _Case(
        "ProjectKeysUsageIncomplete",
        {'projectkeys_usage_missed_records_total{pod="a"}': "0x10 50x20"},
        "Kafka deleted 50 outcomes before they were counted.",
    ),
    _Case("ProjectKeysUsageIncomplete", {"projectkeys_usage_missed_records_total": "50x30"}),
    _Case(
        "ProjectKeysEdgeNotLoaded",
        {'projectkeys_edge_loaded{pod="a"}': "1x30", 'projectkeys_edge_loaded{pod="b"}': "0x30"},
        "An edge has not loaded the keys for five minutes.",
    ),
    _Case("ProjectKeysEdgeNotLoaded", {"projectkeys_edge_loaded": "0x3 1x27"}),
    _Case(
        "ProjectKeysEdgeOutdated",
        {"projectkeys_edge_table_age_seconds": "0+60x30"},
        "An edge serves keys as they were 20m 0s ago.",
    ),
    _Case("ProjectKeysEdgeOutdated", {"projectkeys_edge_table_age_seconds": "0.5x30"}),
    _Case(
        "ProjectKeysEdgeRelaysRefused",
        {'projectkeys_edge_relay_refusals_total{reason="signature"}': "0+1x30"},
        "The edge refused 15 requests of relays in 15 minutes.",
    ),
    _Case("ProjectKeysEdgeRelaysRefused", {'projectkeys_edge_relay_refusals_total{reason="x"}': "5x30"}),
    _Case(
        "ProjectKeysEdgeClockWrong",
        {"projectkeys_edge_delivery_seconds": "-3x30"},
        "The clock of an edge is -3 s from that of the service.",
    ),
    _Case("ProjectKeysEdgeClockWrong", {"projectkeys_edge_delivery_seconds": "0.01x30"}),
]


def _as_promtool(number: int, case: _Case) -> dict[str, Any]:
    [rule] = [each for each in rules() if each["alert"] == case.alert]
    expected = {
        "exp_labels": rule["labels"],
        "exp_annotations": {**rule["annotations"], "summary": case.summary},
    }
    return {
        "name": f"{number} {case.alert}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": "20m", "alertname": case.alert, "exp_alerts": [expected] if case.summary else []}
        ],
    }


async def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    """Also if there are no series, if series end, and whatever the name of the job is."""
    promtool = await require_program("promtool", package="prometheus")
    file = tmp_path / "cases.yaml"
    cases = [_as_promtool(number, case) for number, case in enumerate(_CASES)]
    file.write_text(yaml.safe_dump({"rule_files": [str(_FILE)], "evaluation_interval": "1m", "tests": cases}))
    for command in (["check", "rules", str(_FILE)], ["test", "rules", str(file)]):
        process = await asyncio.create_subprocess_exec(
            promtool, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """A new alert needs both."""
    for fires in (True, False):
        assert {case.alert for case in _CASES if bool(case.summary) is fires} == {rule["alert"] for rule in rules()}
