"""The queries of the dashboard and the alerts find series in the metrics of a running service and a running edge."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from service.settings import Settings
from testkit.chart import dashboard
from testkit.chart.helm import CHART
from testkit.debian import require_program
from testkit.http_client import request
from testkit.replica import Replica
from tests.kafka_harness import new_topic
from tests.processes import deploy, replica
from tests.test_alerts import rules

_TYPE: Final = re.compile(r"^# TYPE (\S+) \w+$", re.MULTILINE)
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.MULTILINE)
_METRIC: Final = re.compile(r"\b(?:projectkeys|process)_\w+")


def alert_queries() -> Iterator[str]:
    """Yield the expression of each alert without its thresholds, or the series whose absence it reports."""
    for rule in rules():
        expression = re.sub(r" (>|<|==) -?[\d.]+", "", rule["expr"])
        yield re.sub(r"^absent\((.+)\)$", r"\1", expression)


def series_of(metrics: str, pod: str) -> dict[str, str]:
    """Return the series of a process in promtool's notation, which grow by one a minute."""
    found = {}
    for name, labels in _SAMPLE.findall(metrics):
        joined = ",".join(filter(None, [labels, f'namespace="keys",pod="{pod}"']))
        found[f"{name}{{{joined}}}"] = "0+1x20"
    return found


async def metrics_of(server: Replica) -> str:
    """Return what Prometheus scrapes."""
    return (await request(server.ops_port, "GET", "/metrics")).body.decode()


async def queries_without_samples(queries: list[str], series: dict[str, str], directory: Path) -> set[str]:
    """Return the queries that promtool evaluates to nothing.

    promtool prints the samples of each query that does not have the expected ones, which are none.
    """
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "15m", "exp_samples": []} for query in queries],
    }
    file = directory / "queries.yaml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    process = await asyncio.create_subprocess_exec(
        *(await require_program("promtool", package="prometheus"), "test", "rules", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output = (await process.communicate())[0].decode()
    found = {json.loads(text) for text in re.findall(r'expr: ("(?:[^"\\]|\\.)*")', output)}
    assert found, output
    return set(queries) - found


async def test_every_query_finds_series_of_a_running_process(settings: Settings, topic: str, tmp_path: Path) -> None:
    """A counter has no series before the first failure that it counts, but its type is already exposed."""
    deployment = await deploy(replace(settings, kafka_topic=topic))
    edge = Replica(deployment.environment | {"EDGE_PORT": "0"}, directory=tmp_path, command=["edge"])
    outcomes = await new_topic(deployment.bootstrap)
    async with replica(deployment, tmp_path, USAGE="true", OUTCOMES_TOPIC=outcomes) as server:
        edge.start()
        try:
            await edge.wait_until_ready()
            listed = await request(server.port, "GET", deployment.keys_path, token=deployment.token)
            assert listed.status == 200
            served = [await metrics_of(server), await metrics_of(edge)]
        finally:
            edge.kill()
    queries = [*dashboard.queries(), *alert_queries()]
    failed = served[0].replace('status="200"', 'status="503"')
    series = series_of(served[0], "a") | series_of(served[1], "b") | series_of(failed, "c")
    families = {name for text in served for name in _TYPE.findall(text)}
    for query in await queries_without_samples(queries, series, tmp_path):
        for metric in _METRIC.findall(query):
            assert metric in families, query
            assert not any(name.startswith(f"{metric}{{") for name in series), query


async def test_a_query_with_a_misspelt_metric_or_label_is_detected(tmp_path: Path) -> None:
    """The test above can fail."""
    series = {'projectkeys_tasks{pod="a"}': "1x20"}
    queries = ["projectkeys_tasks", "projectkeys_task", 'projectkeys_tasks{pods="a"}']
    assert await queries_without_samples(queries, series, tmp_path) == set(queries[1:])


def test_panels_have_a_description_and_do_not_overlap() -> None:
    """Each cell of the grid belongs to one panel."""
    panels: list[dict[str, Any]] = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    cells = [
        (left, top)
        for panel in panels
        for left in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for top in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(panel["description"].endswith(".") for panel in panels if panel["type"] != "row")
    assert len({panel["id"] for panel in panels}) == len(panels)
