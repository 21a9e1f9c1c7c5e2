"""What is kept for a few seconds: for how long, and how much of it."""

from service.concurrency.ttl_cache import TtlCache


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_value_is_good_for_its_time_and_not_longer() -> None:
    """The last moment does not count."""
    clock = Clock()
    recent = TtlCache[str, int](seconds=5, most=10, clock=clock)
    recent.put("a", 1)
    clock.now += 4.9
    assert recent.get("a") == 1
    clock.now += 0.1
    assert recent.get("a") is None
    clock.now -= 1
    assert recent.get("a") is None, "it is forgotten, not only hidden"


def test_looking_does_not_prolong() -> None:
    """What is asked for all the time is looked up again all the same: a revoked token has to end."""
    clock = Clock()
    recent = TtlCache[str, int](seconds=5, most=10, clock=clock)
    recent.put("a", 1)
    for _ in range(4):
        clock.now += 1
        assert recent.get("a") == 1
    clock.now += 1
    assert recent.get("a") is None


def test_what_was_never_kept_is_not_there() -> None:
    """No value is None, not an error."""
    assert TtlCache[str, int](seconds=5, most=10).get("a") is None


def test_when_full_the_oldest_goes() -> None:
    """Memory is bounded whatever callers ask for; putting a value again makes it new."""
    recent = TtlCache[str, int](seconds=5, most=2, clock=Clock())
    recent.put("a", 1)
    recent.put("b", 2)
    recent.put("a", 3)
    recent.put("c", 4)
    assert [recent.get(key) for key in "abc"] == [3, None, 4]
