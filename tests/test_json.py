"""Bodies of JSON: what is read, what is refused, and in which words."""

import re

import pytest

from service.http.request import parse_json
from tests.http_service import Site, storing_nothing
from tests.json_corpus import Text, bad, good, lenient

_GOOD, _BAD = [*good(), *lenient()], list(bad())
_LONGEST = 250
"""Characters of a refusal: it may point at a place, and never gives a whole body back."""


def test_the_table_is_as_long_as_it_should_be() -> None:
    """And no text stands in it twice."""
    bodies = [text.raw for text in (*_GOOD, *_BAD)]
    assert len(set(bodies)) > 400


@pytest.mark.parametrize(
    "text", [one for one in _GOOD if one.value != {"unknown": None}], ids=lambda one: one.name
)
def test_json_says_what_it_says(text: Text) -> None:
    """Whichever of the two parsers reads it."""
    assert parse_json(text.raw) == text.value


@pytest.mark.parametrize("text", _GOOD, ids=lambda one: one.name)
async def test_a_body_of_json_makes_a_key(site: Site, text: Text) -> None:
    """Members that nobody knows are nobody's business."""
    answer = await site.post(text.raw)
    assert (answer.status, answer.body.get("isActive")) == (201, True)


@pytest.mark.parametrize("text", _BAD, ids=lambda one: one.name)
async def test_a_body_that_is_no_json_is_refused_and_stores_nothing(site: Site, text: Text) -> None:
    """400 with where it went wrong, in one line of printable characters."""
    async with storing_nothing(site):
        answer = await site.post(text.raw)
    assert answer.status == 400
    assert list(answer.body) == ["detail"]
    prefix, dash, words = answer.body["detail"].partition(" - ")
    assert (prefix, dash) == ("JSON parse error", " - ")
    assert words == text.words or not text.words
    assert len(words) < _LONGEST
    assert re.fullmatch(r"[ -~]+", words)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[]", "Invalid data. Expected a dictionary, but got list."),
        (b'[{"name": "x"}]', "Invalid data. Expected a dictionary, but got list."),
        (b'"{}"', "Invalid data. Expected a dictionary, but got str."),
        (b"0", "Invalid data. Expected a dictionary, but got int."),
        (b"18446744073709551615", "Invalid data. Expected a dictionary, but got int."),
        (b"0.5", "Invalid data. Expected a dictionary, but got float."),
        (b"true", "Invalid data. Expected a dictionary, but got bool."),
        (b"null", "No data provided"),
    ],
)
async def test_a_value_that_is_no_object_is_told_so(site: Site, raw: bytes, words: str) -> None:
    """400 in the shape of a field's mistake, with no field to name."""
    async with storing_nothing(site):
        answer = await site.post(raw)
    assert (answer.status, answer.body) == (400, {"non_field_errors": [words]})


@pytest.mark.parametrize("surrogate", [r"\ud800", r"\udfff", r"a\udc00b", r"\ude00\ud83d"])
async def test_half_a_character_is_refused_by_its_field(site: Site, surrogate: str) -> None:
    """JSON can write it, no database can hold it."""
    async with storing_nothing(site):
        answer = await site.post(b'{"name": "%s"}' % surrogate.encode())
    assert answer.status == 400
    assert answer.body["name"][0].startswith("Surrogate characters are not allowed: U+D")


@pytest.mark.parametrize(
    "member", ["name", "public", "rateLimit", "browserSdkVersion", "dynamicSdkLoaderOptions"]
)
@pytest.mark.parametrize("value", ["1e400", "-1e400", "18446744073709551616", "1" + "0" * 400])
async def test_a_number_beyond_all_bounds_is_no_fault_of_the_service(
    site: Site, member: str, value: str
) -> None:
    """Whatever it is given for: a key or a refusal."""
    answer = await site.post(b'{"%s": %s}' % (member.encode(), value.encode()))
    assert answer.status in {201, 400}
