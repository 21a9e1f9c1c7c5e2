"""The direct conversion of request bodies equals that of marshmallow."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from service.http import schemas
from service.http.errors import HttpError
from service.http.schemas import Body, load
from tests.request_schemas import BODIES

_BODIES: Final[list[type[Body[Any]]]] = [*BODIES.values()]

_TEXTS: Final = (
    *(
        "Fabulous Key",
        "a-slug",
        "2030-01-31T12:00:00Z",
        "2020-01-31T12:00:00Z",
        "0" * 32,
        "10.x",
        "user",
        "https://a.example",
        "",
        " ",
        "x" * 65,
        "true",
        "-1",
    ),
    *("1.0", "9" * 1001, "\x00", "\ud800", "\u202e", "hasReplay"),
)
_SCALARS: Final = (
    *_TEXTS,
    None,
    True,
    False,
    0,
    1,
    -1,
    86_401,
    2**31,
    10**400,
    0.5,
    1.0,
    1e308,
    float("nan"),
)
_VALUES: Final = st.sampled_from(
    [
        *_SCALARS,
        *([value] for value in _SCALARS),
        *({name: value, "count": 1} for name in ("window", "hasReplay", "other") for value in _SCALARS),
        *({"window": 60, "count": value} for value in _SCALARS),
    ]
)
"""Values that some field accepts, and values that none accepts."""


def _loaded(schema: Body[Any], value: dict[str, Any]) -> Any:
    try:
        return load(schema, value)
    except HttpError as error:
        return error.body


def _loaded_by_marshmallow(schema: Body[Any], value: dict[str, Any]) -> Any:
    try:
        return schema.command(schema.load(value))
    except ValidationError as error:
        return error.messages


def test_every_body_is_tried() -> None:
    """A body that is added later is in the list of the test below."""
    assert len(_BODIES) == sum(
        isinstance(found, type) and issubclass(found, Body) and found is not Body for found in vars(schemas).values()
    )


@pytest.mark.parametrize("body", _BODIES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_body_is_converted_as_by_marshmallow(body: type[Body[Any]], data: st.DataObject) -> None:
    """Any members, valid, invalid, absent and unknown ones: equal values, or equal messages."""
    schema = body()
    names = [field.data_key or name for name, field in schema.fields.items()]
    value = data.draw(st.dictionaries(st.sampled_from([*names, "unknown"]), _VALUES, max_size=8))
    # Texts have the types as well: 1 == True.
    assert repr(_loaded(schema, value)) == repr(_loaded_by_marshmallow(schema, value))
