"""Values that are made from a source: the same object for an equal source, never older than the source, bounded."""

from service.concurrency.derived_cache import DerivedCache


def _cache(max_size: int = 10) -> DerivedCache[str, tuple[int, ...], list[int]]:
    return DerivedCache[str, tuple[int, ...], list[int]](list, max_size=max_size)


def test_equal_sources_yield_the_same_object() -> None:
    """The value is made once."""
    cache = _cache()
    value = cache.get("a", (1, 2))
    assert cache.get("a", (1, 2)) is value
    assert value == [1, 2]


def test_another_source_replaces_the_value() -> None:
    """Also if it equals an earlier one: only the latest value is cached."""
    cache = _cache()
    first = cache.get("a", (1,))
    assert cache.get("a", (2,)) == [2]
    again = cache.get("a", (1,))
    assert again == [1]
    assert again is not first


def test_the_oldest_value_is_removed_when_the_cache_is_full() -> None:
    """Memory is bounded by the number of names."""
    cache = _cache(max_size=2)
    oldest, newer = cache.get("a", (1,)), cache.get("b", (2,))
    cache.get("c", (3,))
    assert cache.get("b", (2,)) is newer
    assert cache.get("a", (1,)) is not oldest
    assert len(cache._entries) == 2
