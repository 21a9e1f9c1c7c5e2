"""Bodies that a form sent: the same members as in JSON, each a text."""

from collections.abc import Iterable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final
from urllib.parse import parse_qsl

from service.http.errors import HttpError

_MOST_FIELDS: Final = 100
"""A key has not twenty; each costs time to read."""

_NESTED: Final = frozenset({"rateLimit", "dynamicSdkLoaderOptions"})
"""Members that have members: a form names these with a dot between, as in ``rateLimit.count``."""


def parse_form(raw: bytes) -> dict[str, Any]:
    """The members in ``application/x-www-form-urlencoded`` bytes.

    Raises:
        Refusal: 400; too many fields.
    """
    try:
        pairs = parse_qsl(raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _too_many() from None
    return _members(pairs)


def parse_multipart(raw: bytes, content_type: str) -> dict[str, Any]:
    """The members in ``multipart/form-data`` bytes; files are left out.

    Raises:
        Refusal: 400; no such form, or too many fields.
    """
    head = f"Content-Type: {content_type}\r\n\r\n".encode(errors="replace")
    boundary = BytesParser(policy=HTTP).parsebytes(head, headersonly=True).get_boundary()
    if not boundary:
        raise HttpError(400, "Multipart form parse error - the Content-Type names no boundary.")
    line = f"--{boundary}".encode()
    if line not in raw:
        raise HttpError(
            400, "Multipart form parse error - the body has not the boundary that the Content-Type names."
        )
    if raw.count(line) > _MOST_FIELDS + 1:
        raise _too_many()
    form = BytesParser(policy=HTTP).parsebytes(head + raw)
    parts = form.get_payload() if form.is_multipart() else []
    return _members(pair for part in parts for pair in _field(part))


def _field(part: Any) -> Iterable[tuple[str, str]]:
    assert isinstance(part, Message), "a part of a multipart body is a message of its own"
    name = part.get_param("name", header="Content-Disposition")
    value = part.get_payload(decode=True)
    if isinstance(name, str) and isinstance(value, bytes) and part.get_filename() is None:
        yield name, value.decode(errors="replace")


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
