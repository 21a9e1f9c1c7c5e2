"""The metrics of the edge."""

import time
from collections.abc import Callable, Iterable
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from projectkeys_consumer import ProjectKeys


class EdgeMetrics:
    """Decisions, configurations, relays and outcomes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "projectkeys_edge_decisions",
            "Requests of proxies, by decision (allowed, refused, limited) and reason.",
            ("decision", "reason"),
            registry=registry,
        )
        self.configs = Counter(
            "projectkeys_edge_configs",
            "Keys that relays asked for, by the member of the response: configs, pending or unchanged.",
            ("answer",),
            registry=registry,
        )
        self.relay_refusals = Counter(
            "projectkeys_edge_relay_refusals",
            "Requests of relays that were refused, by reason.",
            ("reason",),
            registry=registry,
        )
        self.relay_seen = Gauge(
            "projectkeys_edge_relay_last_request_seconds",
            "Unix time of the last valid request of each known relay.",
            ("relay",),
            registry=registry,
        )
        self.outcomes = Counter(
            "projectkeys_edge_outcomes",
            "Outcomes that relays reported: published, or malformed and skipped.",
            ("result",),
            registry=registry,
        )
        for reason in ("unknown_relay", "signature", "challenge"):
            self.relay_refusals.labels(reason)

    def set_relay_seen(self, relay_id: str) -> None:
        """Record a valid request of a known relay."""
        self.relay_seen.labels(relay_id).set(int(time.time()))


class TableMetrics(Collector):
    """The copy of the topic, when the metrics are scraped.

    Args:
        registry: The metrics of the process.
        keys: The copy of the topic.
        first_asked: Returns the number of unknown keys whose first request is remembered.
    """

    def __init__(self, registry: CollectorRegistry, keys: ProjectKeys, first_asked: Callable[[], int]) -> None:
        self._keys = keys
        self._first_asked = first_asked
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return the age and the size of the copy, and the difference of the clocks; NaN if unknown."""
        lag = self._keys.lag()
        yield _gauge("keys", "Keys in memory.", len(self._keys))
        yield _gauge("loaded", "1 if the keys are loaded, so that requests can be answered.", self._keys.is_complete)
        yield _gauge(
            "table_age_seconds",
            "Age of the keys in memory: everything that was in the topic so long ago is applied.",
            lag.seconds,
        )
        yield _gauge("unread_records", "Known records of the topic that have not been read.", lag.records)
        yield _gauge(
            "delivery_seconds",
            "Own time when the last record was read, minus its timestamp; negative if the own clock is behind.",
            lag.delivery_seconds,
        )
        yield _gauge("first_asked_keys", "Unknown keys whose first request is remembered.", self._first_asked())


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"projectkeys_edge_{name}", text, nan if value is None else value)
