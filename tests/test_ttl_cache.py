"""Values that are cached for a few seconds: for how long, and how many."""

from service.concurrency.ttl_cache import TtlCache


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_value_expires_after_its_time() -> None:
    """At the end of the time it has expired already."""
    clock = Clock()
    cache = TtlCache[str, int](seconds=5, max_size=10, clock=clock)
    cache.put("a", 1)
    clock.now += 4.9
    assert cache.get("a") == 1
    clock.now += 0.1
    assert cache.get("a") is None
    clock.now -= 1
    assert cache.get("a") is None, "it is removed, not only hidden"


def test_reading_a_value_does_not_extend_its_time() -> None:
    """A value that is read all the time expires nevertheless: a revoked token must become invalid."""
    clock = Clock()
    cache = TtlCache[str, int](seconds=5, max_size=10, clock=clock)
    cache.put("a", 1)
    for _ in range(4):
        clock.now += 1
        assert cache.get("a") == 1
    clock.now += 1
    assert cache.get("a") is None


def test_an_unknown_key_has_no_value() -> None:
    """The result is None, not an error."""
    assert TtlCache[str, int](seconds=5, max_size=10).get("a") is None


def test_the_oldest_value_is_removed_when_the_cache_is_full() -> None:
    """Memory is bounded; storing a value again makes it the newest."""
    cache = TtlCache[str, int](seconds=5, max_size=2, clock=Clock())
    cache.put("a", 1)
    cache.put("b", 2)
    cache.put("a", 3)
    cache.put("c", 4)
    assert [cache.get(key) for key in "abc"] == [3, None, 4]
