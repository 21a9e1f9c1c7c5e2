"""Outages: one backoff for all attempts to connect, and few log events."""

from dataclasses import dataclass

from structlog.testing import capture_logs

from service.concurrency.outage import Outage


@dataclass
class _Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def _fail(outage: Outage) -> None:
    outage.failed("refused", host="h", port="1")


def test_the_start_and_the_end_of_an_outage_are_one_log_event_each() -> None:
    """Whatever number of parts notice it; the events say where and why."""
    clock = _Clock()
    outage = Outage("postgres", clock=clock)
    with capture_logs() as events:
        for _ in range(20):
            _fail(outage)
            clock.now += 1
        outage.ended()
        outage.ended()
    assert [event["event"] for event in events] == ["postgres_unavailable", "postgres_recovered"]
    first = {name: events[0][name] for name in ("host", "port", "reason", "attempt")}
    assert first == {"host": "h", "port": "1", "reason": "refused", "attempt": 1}
    assert 0 < events[0]["retry_in_seconds"] <= 0.1
    assert events[1]["after_seconds"] == 20


def test_a_long_outage_is_logged_again_at_growing_intervals() -> None:
    """About 40 lines in a day, not one for each attempt."""
    clock = _Clock()
    outage = Outage("kafka", clock=clock)
    with capture_logs() as events:
        for _ in range(11 * 60):
            _fail(outage)
            clock.now += 1
    assert [event["event"] for event in events] == ["kafka_unavailable"] * 5
    assert events[-1]["attempt"] > events[0]["attempt"]


def test_nobody_connects_during_the_backoff() -> None:
    """Attempts that run at the same time count as one; the backoff ends with a success."""
    clock = _Clock()
    outage = Outage(clock=clock)
    assert outage.seconds_left == 0
    for _ in range(10):
        _fail(outage)
    assert 0 < outage.seconds_left <= 0.1
    clock.now += 0.1
    assert outage.seconds_left == 0
    for _ in range(100):
        clock.now += 2.0
        assert outage.seconds_left == 0
        _fail(outage)
        assert 0 < outage.seconds_left <= 2
    outage.ended()
    assert (outage.seconds_left, outage.ongoing) == (0, False)


def test_commands_log_nothing() -> None:
    """They report the error themselves."""
    with capture_logs() as events:
        outage = Outage()
        _fail(outage)
        outage.ended()
    assert events == []
