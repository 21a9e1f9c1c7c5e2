"""The Grafana dashboard: a table of its panels, and the JSON that follows from it."""

import json
from dataclasses import dataclass
from typing import Any, Final

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 24


@dataclass(frozen=True)
class Panel:
    """A time series.

    Args:
        title: Its title.
        description: What it shows and what to look for.
        queries: PromQL by legend. `$NS` stands for the selection of the namespace.
        unit: Grafana's name of the unit.
    """

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"


def _quantiles(histogram: str) -> dict[str, str]:
    return {
        f"p{percent}": f"histogram_quantile({percent / 100:g}, sum by (le) (rate({histogram}_bucket{{$NS}}[5m])))"
        for percent in (50, 99)
    }


_REQUESTS: Final = "projectkeys_http_request_duration_seconds"

ROWS: Final[dict[str, list[Panel]]] = {
    "Requests": [
        Panel(
            "Requests",
            "Requests per second by status.",
            {"{{status}}": f"sum by (status) (rate({_REQUESTS}_count{{$NS}}[5m]))"},
            "reqps",
        ),
        Panel(
            "Duration",
            "Time from the request head to the response, over all routes.",
            _quantiles(_REQUESTS),
            "s",
        ),
        Panel(
            "In progress",
            "Requests in progress, by pod. Above MAX_REQUESTS, further ones get 503.",
            {"{{pod}}": "projectkeys_http_requests_in_flight{$NS}"},
        ),
    ],
    "Events": [
        Panel(
            "From commit to Kafka",
            "Time from an event's commit to Kafka's acknowledgement.",
            _quantiles("projectkeys_publish_seconds"),
            "s",
        ),
        Panel(
            "Unpublished events",
            "Events that wait for Kafka, and those that Kafka rejects for good.",
            {
                "unpublished": "max(projectkeys_outbox_depth{$NS})",
                "parked": "max(projectkeys_outbox_parked{$NS})",
            },
        ),
        Panel(
            "Age of the oldest event",
            "Grows while Kafka or all publishers are unavailable.",
            {"age": "max(projectkeys_outbox_oldest_age_seconds{$NS})"},
            "s",
        ),
        Panel(
            "Shards",
            "Shards by pod. Together they own each shard once.",
            {"{{pod}}": "projectkeys_shards_owned{$NS}"},
        ),
        Panel(
            "Failures to publish",
            "Failures per second by error; each is retried.",
            {"{{error}}": "sum by (error) (rate(projectkeys_publish_failures_total{$NS}[5m]))"},
        ),
        Panel(
            "Jobs",
            "Keys per second that replays and repairs process, by kind, and failed batches.",
            {
                "{{kind}}": "sum by (kind) (rate(projectkeys_job_keys_total{$NS}[5m]))",
                "failed batches": "sum(rate(projectkeys_job_failures_total{$NS}[5m]))",
            },
        ),
    ],
    "Edge": [
        Panel(
            "Age of the keys",
            "Everything that was in the topic so long ago is applied. Grows while Kafka is unavailable.",
            {"{{pod}}": "projectkeys_edge_table_age_seconds{$NS}"},
            "s",
        ),
        Panel("Keys", "Keys in memory, by pod.", {"{{pod}}": "projectkeys_edge_keys{$NS}"}),
        Panel(
            "Decisions",
            "Decisions of /auth per second, by decision and reason.",
            {
                "{{decision}} {{reason}}": (
                    "sum by (decision, reason) (rate(projectkeys_edge_decisions_total{$NS}[5m]))"
                )
            },
        ),
        Panel(
            "Configurations",
            "Keys per second that relays ask for, by the response.",
            {"{{answer}}": "sum by (answer) (rate(projectkeys_edge_configs_total{$NS}[5m]))"},
        ),
        Panel(
            "Relays refused",
            "Refused requests of relays per second, by reason.",
            {"{{reason}}": "sum by (reason) (rate(projectkeys_edge_relay_refusals_total{$NS}[5m]))"},
        ),
        Panel(
            "Since the last request of a relay",
            "A relay asks at least once per project_expiry while it receives events.",
            {"{{relay}}": ("time() - max by (relay) (projectkeys_edge_relay_last_request_seconds{$NS})")},
            "s",
        ),
    ],
    "Usage": [
        Panel(
            "Outcomes",
            "Records of outcomes per second, by result.",
            {"{{result}}": "sum by (result) (rate(projectkeys_usage_records_total{$NS}[5m]))"},
        ),
        Panel(
            "Outcomes not yet counted",
            "Records after the last one that is counted.",
            {"records": "max(projectkeys_usage_lag_records{$NS})"},
        ),
        Panel(
            "Missed outcomes",
            "Records per second that Kafka deleted before they were counted, and quantities of unknown keys.",
            {
                "missed": "sum(rate(projectkeys_usage_missed_records_total{$NS}[5m]))",
                "unknown keys": "sum(rate(projectkeys_usage_unknown_keys_total{$NS}[5m]))",
            },
        ),
    ],
    "Processes": [
        Panel(
            "Dependencies",
            "1 if the last attempt to connect succeeded, by dependency and pod.",
            {"{{dependency}} {{pod}}": "projectkeys_dependency_up{$NS}"},
        ),
        Panel(
            "Processor",
            "Processor time per second, by pod.",
            {"{{pod}}": "rate(process_cpu_seconds_total{$NS}[5m]) and on (pod) projectkeys_tasks{$NS}"},
        ),
        Panel(
            "Memory",
            "Resident memory, by pod.",
            {"{{pod}}": "process_resident_memory_bytes{$NS} and on (pod) projectkeys_tasks{$NS}"},
            "bytes",
        ),
        Panel(
            "Connections to Postgres",
            "Open and idle connections of all pods.",
            {
                "open": "sum(projectkeys_pool_connections{$NS})",
                "idle": "sum(projectkeys_pool_connections_idle{$NS})",
            },
        ),
        Panel(
            "Restarts of background tasks",
            "Failed tasks per second, by task: each is a bug.",
            {"{{work}}": "sum by (work) (rate(projectkeys_background_restarts_total{$NS}[5m]))"},
        ),
        Panel(
            "Aborted connections",
            "Connections per second that the service aborts, by the bound that they exceed.",
            {"{{bound}}": "sum by (bound) (rate(projectkeys_http_connections_aborted_total{$NS}[5m]))"},
        ),
    ],
}
"""The panels by row."""


def queries() -> list[str]:
    """Return the PromQL of all panels, with every namespace selected."""
    panels = [panel for row in ROWS.values() for panel in row]
    return [_query(query).replace("$namespace", ".*") for panel in panels for query in panel.queries.values()]


def _query(query: str) -> str:
    return query.replace("$NS", 'namespace=~"$namespace"')


def as_json() -> str:
    """Return the dashboard for Grafana 10 and newer."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(_placed(len(panels), 0, top, _COLUMNS, 1) | {"type": "row", "title": title})
        top += 1
        for number, panel in enumerate(row):
            line, column = divmod(number, _COLUMNS // _WIDTH)
            place = _placed(len(panels), column * _WIDTH, top + line * _HEIGHT, _WIDTH, _HEIGHT)
            panels.append(place | _time_series(panel))
        top += -(-len(row) // (_COLUMNS // _WIDTH)) * _HEIGHT
    dashboard = {
        "uid": "projectkeys",
        "title": "Project keys",
        "tags": ["projectkeys"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _placed(number: int, left: int, top: int, width: int, height: int) -> dict[str, Any]:
    return {"id": number + 1, "gridPos": {"x": left, "y": top, "w": width, "h": height}}


def _time_series(panel: Panel) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _SOURCE,
            "expr": _query(query),
            "legendFormat": legend,
        }
        for number, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "namespace",
            "type": "query",
            "label": "Namespace",
            "datasource": _SOURCE,
            "query": "label_values(projectkeys_build_info, namespace)",
            "includeAll": True,
            # Matches series without this label, too.
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
        },
    ]
