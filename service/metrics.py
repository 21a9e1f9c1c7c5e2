"""The metrics that /metrics exposes."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PUBLISH_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600)


def _factories(registry: CollectorRegistry) -> tuple[partial[Gauge], partial[Counter]]:
    return partial(Gauge, registry=registry), partial(Counter, registry=registry)


class RequestMetrics(Collector):
    """HTTP requests by route, method and status; the route is a template, never a path.

    `observe` adds a duration to a histogram of this module, which costs a third of the library's histogram.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge, counter = _factories(registry)
        self._times: dict[tuple[str, str, int], _Times] = {}
        self.in_flight = gauge("projectkeys_http_requests_in_flight", "HTTP requests in progress.")
        self.streams = gauge("projectkeys_http_event_streams", "Open streams of events.")
        self.unsent = gauge(
            "projectkeys_http_unsent_response_bytes", "Bytes of responses that their clients have not read."
        )
        self.aborted = counter(
            "projectkeys_http_connections_aborted",
            "Connections aborted by the service, by the bound that they exceeded.",
            ("bound",),
        )
        self.restarts = counter(
            "projectkeys_background_restarts", "Restarts of background tasks after a failure, by task.", ("work",)
        )
        registry.register(self)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Record a request that took ``seconds``."""
        labels = (route, method, status)
        times = self._times.get(labels)
        if times is None:
            times = self._times[labels] = _Times(_REQUEST_BUCKETS)
        times.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Return the histogram of the durations."""
        family = HistogramMetricFamily(
            "projectkeys_http_request_duration_seconds",
            "Time from receiving the request head to the response.",
            labels=("route", "method", "status"),
        )
        for (route, method, status), times in self._times.items():
            family.add_metric((route, method, str(status)), times.buckets(), times.seconds)
        yield family


class _Times:
    """A histogram: the sum of the durations, and the number of durations in each bucket."""

    __slots__ = ("_bounds", "counts", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Add a duration."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return each upper bound with the number of durations up to it."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class PublisherMetrics(Collector):
    """The publisher: from the outbox to Kafka. ``publish_seconds`` is one of the faster histograms of this module."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge, counter = _factories(registry)
        self.publish_seconds = _Times(_PUBLISH_BUCKETS)
        self.sessions_opened = counter(
            "projectkeys_producer_sessions_opened", "Producer sessions opened, one per shard and more after failures."
        )
        self.failures = counter(
            "projectkeys_publish_failures",
            "Failures to open a producer session or to send a batch, by error.",
            ("error",),
        )
        self.rows_parked = counter(
            "projectkeys_rows_parked",
            "Events parked because Kafka rejects them for good, by reason; later events of their keys wait.",
            ("reason",),
        )
        self.restarts = counter(
            "projectkeys_publisher_restarts", "Restarts of the publisher after an internal error."
        )
        self.shards_owned = gauge("projectkeys_shards_owned", "Shards owned by this process.")
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return the histogram of the times of publishing."""
        times = self.publish_seconds
        yield HistogramMetricFamily(
            "projectkeys_publish_seconds",
            "Time from an event's commit to Kafka's acknowledgement.",
            buckets=times.buckets(),
            sum_value=times.seconds,
        )


class JobMetrics:
    """Batch jobs, and keys that expire."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge, counter = _factories(registry)
        self.keys = counter("projectkeys_job_keys", "Keys processed by batch jobs, by kind of job.", ("kind",))
        self.failures = counter(
            "projectkeys_job_failures",
            "Failed batches, by kind of job and error; each is retried after a delay.",
            ("kind", "error"),
        )
        self.expiring = gauge(
            "projectkeys_keys_expiring",
            "Active keys that expire within 7 days and have not been rotated, up to 5 000.",
        )


class UsageMetrics:
    """The reader of outcomes; ``reading`` is 1 in the process that reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge, counter = _factories(registry)
        self.reading = gauge("projectkeys_usage_reading", "Whether this process reads the topic of outcomes.")
        self._lag = gauge("projectkeys_usage_lag_records", "Outcomes not yet counted, as last read.")
        self._records = counter(
            "projectkeys_usage_records",
            "Records of outcomes: counted, or malformed and skipped.",
            ("result",),
        )
        self._unknown = counter(
            "projectkeys_usage_unknown_keys", "Counted quantity without a key, or of keys that do not exist."
        )
        self.missed = counter(
            "projectkeys_usage_missed_records",
            "Records that Kafka deleted before they were read; 1 or more a gap.",
        )

    def show(self, counted: int, malformed: int, unknown: int, *, lag: int) -> None:
        """Add a batch that was committed, and set the number of records that follow it."""
        self._records.labels("counted").inc(counted)
        self._records.labels("malformed").inc(malformed)
        self._unknown.inc(unknown)
        self._lag.set(lag)


class OutboxMetrics:
    """The outbox as last read; depth and age exclude parked events and the events that they block."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge, _ = _factories(registry)
        self._depth = gauge(
            "projectkeys_outbox_depth",
            "Events not yet acknowledged by Kafka, up to 5 000 per shard; without parked events.",
        )
        self._oldest_age = gauge(
            "projectkeys_outbox_oldest_age_seconds",
            "Age of the oldest event not yet acknowledged by Kafka; without parked events.",
        )
        self._shard_depth = gauge(
            "projectkeys_outbox_shard_depth",
            "Events of a shard not yet acknowledged by Kafka, up to 5 000; without parked events.",
            ("shard",),
        )
        self._shard_oldest_age = gauge(
            "projectkeys_outbox_shard_oldest_age_seconds",
            "Age of the oldest event of a shard not yet acknowledged by Kafka; without parked events.",
            ("shard",),
        )
        self._parked = gauge(
            "projectkeys_outbox_parked",
            "Parked events, which Kafka rejects for good, up to 5 000; later events of their keys wait.",
        )

    def show(self, shards: Mapping[int, tuple[int, float]], *, parked: int) -> None:
        """Set every gauge.

        Args:
            shards: Number of unpublished events of each shard, and the age of the oldest in seconds.
            parked: Number of parked events.
        """
        for shard, (depth, oldest_age) in shards.items():
            self._shard_depth.labels(str(shard)).set(depth)
            self._shard_oldest_age.labels(str(shard)).set(oldest_age)
        self._depth.set(sum(depth for depth, _ in shards.values()))
        self._oldest_age.set(max((age for _, age in shards.values()), default=0))
        self._parked.set(parked)


class ProcessMetrics(Collector):
    """The process, the interpreter, the release, the event loop and the log.

    ``dropped_lines`` returns a number that only grows, as does the number of tasks if there is a leak.
    """

    def __init__(self, registry: CollectorRegistry, *, version: str, dropped_lines: Callable[[], int]) -> None:
        self._dropped_lines = dropped_lines
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("projectkeys_build", "The release of the service.", registry=registry).info({"version": version})
        Gauge("projectkeys_tasks", "Tasks in the event loop.", registry=registry).set_function(_running_tasks)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return the number of lines that the log has lost."""
        yield CounterMetricFamily(
            "projectkeys_log_lines_dropped",
            "Log lines dropped because their reader did not read.",
            self._dropped_lines(),
        )


class DependencyMetrics(Collector):
    """The dependencies, by name, and the connections to Postgres, counted when the metrics are scraped.

    ``is_up`` returns whether the last attempt to connect to a dependency succeeded; ``pool_sizes`` the number of
    connections and of idle ones.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        is_up: Mapping[str, Callable[[], bool]],
        pool_sizes: Callable[[], tuple[int, int]],
    ) -> None:
        self._pool_sizes = pool_sizes
        up = Gauge(
            "projectkeys_dependency_up",
            "Whether the last attempt to connect succeeded (1) or failed (0), by dependency.",
            ("dependency",),
            registry=registry,
        )
        for name, check in is_up.items():
            up.labels(name).set_function(check)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return the size of the pool and the number of its idle connections."""
        size, idle = self._pool_sizes()
        yield GaugeMetricFamily("projectkeys_pool_connections", "Postgres connections.", size)
        yield GaugeMetricFamily("projectkeys_pool_connections_idle", "Idle Postgres connections.", idle)


def _running_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # called outside of an event loop
        return 0
