"""Bodies that a form sent: the same members as in JSON, each a text."""

import re
from binascii import unhexlify
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from service.http.errors import HttpError
from service.http.multipart import iter_fields

_MOST_FIELDS: Final = 100
"""A key has not twenty; each costs time to read."""

_NESTED: Final = frozenset({"rateLimit", "dynamicSdkLoaderOptions"})
"""Members that have members: a form names these with a dot between, as in ``rateLimit.count``."""

_PERCENT_ENCODED: Final = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


def parse_form(raw: bytes) -> dict[str, Any]:
    """The members in ``application/x-www-form-urlencoded`` bytes.

    Raises:
        Refusal: 400; too many fields.
    """
    if raw.count(b"&") >= _MOST_FIELDS:
        raise _too_many()
    pairs = (field.partition(b"=") for field in raw.split(b"&") if field)
    return _members((_decoded(name), _decoded(value)) for name, _, value in pairs)


def _decoded(raw: bytes) -> str:
    """Return the text of percent-encoded bytes; each ``%`` that encodes nothing costs `urllib.parse` an exception."""
    return _PERCENT_ENCODED.sub(_bytes_of, raw.replace(b"+", b" ")).decode(errors="replace")


def _bytes_of(escapes: re.Match[bytes]) -> bytes:
    return unhexlify(escapes[0].replace(b"%", b""))


def parse_multipart(raw: bytes, content_type: str) -> dict[str, Any]:
    """The members in ``multipart/form-data`` bytes; files are left out.

    Raises:
        Refusal: 400; no such form, or too many fields.
    """
    parts = list(islice(iter_fields(raw, content_type), _MOST_FIELDS + 1))
    if len(parts) > _MOST_FIELDS:
        raise _too_many()
    return _members(part for part in parts if part is not None)


def _members(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What the fields say; of several with one name the last, and an empty one says nothing."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        outer, dot, inner = name.partition(".")
        if outer in _NESTED:
            if dot:
                members.setdefault(outer, {})[inner] = value
        elif value:
            members[name] = value
        else:
            members.pop(name, None)
    return members


def _too_many() -> HttpError:
    return HttpError(400, f"The form has more than {_MOST_FIELDS} fields.")
