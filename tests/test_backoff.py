"""Delays between attempts."""

import pytest

from service.concurrency.backoff import Backoff


def test_delays_grow_up_to_the_longest() -> None:
    """Without jitter each is the bound."""
    backoff = Backoff(first=0.1, longest=1.0, jitter=0)
    assert [backoff.delay(attempt) for attempt in range(1, 7)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_any_number_of_attempts_has_a_delay() -> None:
    """Kafka may be down for days: 2 to the power of the attempts is no float then."""
    assert Backoff(first=0.1, longest=2.0, jitter=0).delay(100_000) == 2.0


@pytest.mark.parametrize(("random", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_jitter_is_the_random_part_of_the_delay(random: float, share: float) -> None:
    """With 0.5, delays lie between half of the bound and the bound."""
    backoff = Backoff(first=4.0, longest=4.0, random=lambda: random)
    assert backoff.delay(1) == pytest.approx(4.0 * share)


def test_the_growth_can_be_set() -> None:
    """For example to poll a little less often each time."""
    backoff = Backoff(first=1.0, longest=10.0, factor=1.5, jitter=0)
    assert [backoff.delay(attempt) for attempt in (1, 2, 3)] == pytest.approx([1.0, 1.5, 2.25])
