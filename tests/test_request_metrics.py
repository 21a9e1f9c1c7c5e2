"""The histogram of request durations equals that of prometheus_client."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.metrics import RequestMetrics

_NAME = "projectkeys_http_request_duration_seconds"
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _samples(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if line.startswith(f"{_NAME}_")]


@given(st.lists(st.sampled_from(_BOUNDS) | st.floats(min_value=0, max_value=20), min_size=1))
def test_a_scrape_equals_that_of_the_histogram_of_prometheus_client(times: Sequence[float]) -> None:
    """Durations equal to a bound and durations above all bounds are counted."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    metrics = RequestMetrics(ours)
    labels = ("route", "method", "status")
    library = Histogram(_NAME, "Time.", labels, buckets=_BOUNDS, registry=theirs)
    for seconds in times:
        metrics.observe("/a/", "GET", 200, seconds)
        library.labels("/a/", "GET", "200").observe(seconds)
    assert set(_samples(ours)) == {line for line in _samples(theirs) if "_created{" not in line}
