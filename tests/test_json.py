"""JSON bodies: which are accepted, which are rejected, and the error messages."""

import re

import pytest

from service.http.errors import HttpError
from service.http.request import parse_json
from tests.http_service import Site, storing_nothing
from tests.json_corpus import Text, ambiguous, invalid, valid

_VALID, _INVALID = [*valid(), *ambiguous()], list(invalid())
_MAX_MESSAGE_LENGTH = 250
"""Characters: an error message can name a position, and never contains a whole body."""


def test_the_table_has_more_than_400_different_texts() -> None:
    """Duplicates do not count."""
    bodies = [text.raw for text in (*_VALID, *_INVALID)]
    assert len(set(bodies)) > 400


@pytest.mark.parametrize(
    "text", [text for text in _VALID if text.value != {"unknown": None}], ids=lambda text: text.name
)
def test_json_is_parsed_to_its_value(text: Text) -> None:
    """By either of the two parsers."""
    assert parse_json(text.raw) == text.value


@pytest.mark.parametrize("text", _VALID, ids=lambda text: text.name)
async def test_a_json_body_with_unknown_members_creates_a_key(site: Site, text: Text) -> None:
    """Unknown members are ignored."""
    response = await site.post(text.raw)
    assert (response.status, response.body.get("isActive")) == (201, True)


@pytest.mark.parametrize("text", _INVALID, ids=lambda text: text.name)
async def test_a_body_that_is_not_json_is_rejected_and_stores_nothing(site: Site, text: Text) -> None:
    """400 with the reason and the position, in one line of printable ASCII."""
    async with storing_nothing(site):
        response = await site.post(text.raw)
    assert response.status == 400
    assert list(response.body) == ["detail"]
    prefix, dash, message = response.body["detail"].partition(" - ")
    assert (prefix, dash) == ("JSON parse error", " - ")
    assert message == text.message or not text.message
    assert len(message) < _MAX_MESSAGE_LENGTH
    assert re.fullmatch(r"[ -~]+", message)


@pytest.mark.parametrize(
    ("raw", "message"),
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
async def test_a_value_that_is_not_an_object_is_rejected(site: Site, raw: bytes, message: str) -> None:
    """400 in the form of a field error, without a field."""
    async with storing_nothing(site):
        response = await site.post(raw)
    assert (response.status, response.body) == (400, {"non_field_errors": [message]})


@pytest.mark.parametrize("surrogate", [r"\ud800", r"\udfff", r"a\udc00b", r"\ude00\ud83d"])
async def test_a_lone_surrogate_is_rejected_by_its_field(site: Site, surrogate: str) -> None:
    """JSON can contain it, PostgreSQL cannot store it."""
    async with storing_nothing(site):
        response = await site.post(b'{"name": "%s"}' % surrogate.encode())
    assert response.status == 400
    assert response.body["name"][0].startswith("Surrogate characters are not allowed: U+D")


@pytest.mark.parametrize("member", ["name", "public", "rateLimit", "browserSdkVersion", "dynamicSdkLoaderOptions"])
@pytest.mark.parametrize("value", ["1e400", "-1e400", "18446744073709551616", "1" + "0" * 400])
async def test_a_huge_number_never_causes_a_500(site: Site, member: str, value: str) -> None:
    """Each member: a key is created, or the number is rejected."""
    response = await site.post(b'{"%s": %s}' % (member.encode(), value.encode()))
    assert response.status in {201, 400}


@pytest.mark.parametrize("surrogate", [b"", rb'"\ud800",'])
def test_64_levels_of_arrays_and_objects_are_accepted(surrogate: bytes) -> None:
    """By either of the two parsers; with one level more, the error names the limit."""

    def nested(levels: int) -> bytes:
        return b'{"a":[' * (levels // 2 - 1) + b'{"a":[' + surrogate + b"0]}" + b"]}" * (levels // 2 - 1)

    parse_json(nested(64))
    with pytest.raises(HttpError) as rejected:
        parse_json(b"[" + nested(64) + b"]")
    assert rejected.value.status == 400
    assert rejected.value.body == {
        "detail": "JSON parse error - arrays and objects are nested more than 64 levels deep"
    }


@pytest.mark.parametrize("value", [b'"%s"' % (b"a" * 30_000), b"[%s1]" % (b"1," * 30_000)])
async def test_an_error_quotes_at_most_100_characters_of_a_value(site: Site, value: bytes) -> None:
    """A longer value is cut."""
    response = await site.post(b'{"browserSdkVersion": %s}' % value)
    assert response.status == 400
    [message] = response.body["browserSdkVersion"]
    quoted = re.fullmatch(r'"(.{100})…" is not a valid choice\.', message)
    assert quoted is not None
    assert quoted[1] in {"a" * 100, "[" + "1, " * 33}
