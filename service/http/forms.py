"""Parsers of forms, urlencoded or multipart (RFC 7578), that take linear time and do not nest.

A form has the same members as a JSON body, each as text. No library is used for multipart: `email` takes quadratic
time, and aiohttp's reader needs a stream, nests parts and takes seconds for 64 KiB of semicolons or of empty parts.
"""

import re
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from service.http.errors import HttpError

_MAX_FIELDS: Final = 100
"""A bound of the time to parse; a key has fewer than twenty fields."""

_MAX_INDENT: Final = 256
"""Bytes of a form in which a first character ``{`` or ``[`` shows that it is JSON."""

_MAX_PART_HEADERS: Final = 512
"""Bytes of the headers of one part: enough for a field name, a file name of 255 bytes and a media type."""

_NESTED_MEMBERS: Final = frozenset({"rateLimit", "dynamicSdkLoaderOptions"})
"""Members that are objects; in a form, the names of their members contain a dot: ``rateLimit.count``."""

_PERCENT_ENCODED: Final = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_BOUNDARY: Final = re.compile(r"[ -~]{0,69}[!-~]")
"""RFC 2046, section 5.1.1: at most 70 characters, the last of them not a space. Clients also use characters outside
its alphabet."""

_BLANK_LINE: Final = re.compile(rb"^\r?\n", re.MULTILINE)
_HEADER: Final = re.compile(r"^([!-9;-~]++):((?:.|\n[ \t])*+)", re.MULTILINE)
"""A header with its continuation lines. The possessive ``*+`` and ``++`` never try a shorter match, which would
take quadratic time."""

_PARAMETER: Final = re.compile(
    r'(?:;\s*+)++(?:([^\s;="]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;"]*+)))?+\s*+', re.DOTALL
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})


def parse_form(raw: bytes) -> dict[str, Any]:
    """Return the members of a body of the type ``application/x-www-form-urlencoded``.

    Raises:
        HttpError: 400 if there are too many fields, or ``raw`` is JSON, which curl sends as a form by default.
    """
    if raw.count(b"&") >= _MAX_FIELDS:
        raise _too_many_fields()
    if _percent_decode(raw[:_MAX_INDENT]).lstrip().startswith(("{", "[")):
        raise HttpError(400, "The body looks like JSON; send it with the header Content-Type: application/json.")
    pairs = (field.partition(b"=") for field in raw.split(b"&") if field)
    return _members((_percent_decode(name), _percent_decode(value)) for name, _, value in pairs)


def parse_multipart(raw: bytes, content_type: str) -> dict[str, Any]:
    """Return the members of a body of the type ``multipart/form-data``; ignore files.

    Args:
        raw: The body.
        content_type: The whole Content-Type of the request.

    Raises:
        HttpError: 400 if the Content-Type has no usable boundary, the body does not contain it, a part is malformed,
            or there are too many fields.
    """
    parts = list(islice(_iter_fields(raw, content_type), _MAX_FIELDS + 1))
    if len(parts) > _MAX_FIELDS:
        raise _too_many_fields()
    return _members(part for part in parts if part is not None)


def _percent_decode(raw: bytes) -> str:
    """Return the decoded text; `urllib.parse` is slow: it raises an exception for each ``%`` that encodes nothing."""
    return _PERCENT_ENCODED.sub(_bytes_of, raw.replace(b"+", b" ")).decode(errors="replace")


def _bytes_of(escapes: re.Match[bytes]) -> bytes:
    return unhexlify(escapes[0].replace(b"%", b""))


def _members(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the members by name. The last value of a repeated name counts; an empty value removes the member."""
    members: dict[str, Any] = {}
    for name, value in fields:
        outer, dot, inner = name.partition(".")
        if outer in _NESTED_MEMBERS:
            if dot:
                members.setdefault(outer, {})[inner] = value
        elif value:
            members[name] = value
        else:
            members.pop(name, None)
    return members


def _iter_fields(raw: bytes, content_type: str) -> Iterator[tuple[str, str] | None]:
    """Yield the name and value of each part; None for a part without a name, a file and a nested multipart."""
    end_of_previous = None
    for delimiter in _delimiter(content_type).finditer(raw):
        if end_of_previous is not None:
            yield _field(raw[end_of_previous : delimiter.start()])
        end_of_previous = delimiter.end()
        if delimiter["closing"]:
            return
    if end_of_previous is None:
        raise _multipart_error("the body does not contain the boundary of the Content-Type.")
    yield _field(raw[end_of_previous:])


def _delimiter(content_type: str) -> re.Pattern[bytes]:
    """Return the pattern of a line that delimits parts, with its line end."""
    parameters = _parameters(content_type)
    if parameters is None:
        raise _multipart_error("the Content-Type is malformed.")
    boundary = parameters.get("boundary")
    if not boundary:
        raise _multipart_error("the Content-Type names no boundary.")
    if not _BOUNDARY.fullmatch(boundary):
        raise _multipart_error("the boundary must be 1 to 70 ASCII characters and not end with a space.")
    text = re.escape(boundary.encode())
    return re.compile(rb"^--" + text + rb"(?P<closing>--)?[ \t]*+(?:\r?\n|\Z)", re.MULTILINE)


def _field(part: bytes) -> tuple[str, str] | None:
    part = part.removesuffix(b"\n").removesuffix(b"\r")  # the line end before a delimiter belongs to it
    blank_line = _BLANK_LINE.search(part, 0, _MAX_PART_HEADERS)
    if blank_line is None and len(part) > _MAX_PART_HEADERS:
        raise _multipart_error(f"the headers of a part are longer than {_MAX_PART_HEADERS} bytes.")
    end, start = blank_line.span() if blank_line else (len(part), len(part))
    headers = _headers(part[:end].decode(errors="replace").replace("\r\n", "\n"))
    if headers.get("content-transfer-encoding", "").lower() not in _PLAIN_ENCODINGS:
        raise _multipart_error("a part has a Content-Transfer-Encoding; send its value unencoded.")
    parameters = _parameters(headers.get("content-disposition", ""))
    if parameters is None:
        raise _multipart_error("the Content-Disposition of a part is malformed.")
    is_file = "filename" in parameters or "filename*" in parameters
    # Clients older than RFC 7578 send several files as one nested multipart.
    is_nested = headers.get("content-type", "").lower().startswith("multipart/")
    if is_file or is_nested or "name" not in parameters:
        return None
    return parameters["name"], part[start:].decode(errors="replace")


def _headers(text: str) -> Mapping[str, str]:
    """Return the first value of each header by its lower-case name."""
    headers: dict[str, str] = {}
    for name, value in _HEADER.findall(text):
        headers.setdefault(name.lower(), value.strip())
    return headers


def _parameters(header: str) -> Mapping[str, str] | None:
    """Return the parameters of a header by lower-case name; None if it is malformed or repeats a name."""
    parameters: dict[str, str] = {}
    position = len(header.partition(";")[0])
    while position < len(header):
        match = _PARAMETER.match(header, position)
        if match is None:
            return None
        position = match.end()
        name, quoted, token = match.groups()
        if name is not None:
            if name.lower() in parameters:
                return None
            parameters[name.lower()] = token.strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
    return parameters


def _too_many_fields() -> HttpError:
    return HttpError(400, f"The form has more than {_MAX_FIELDS} fields.")


def _multipart_error(reason: str) -> HttpError:
    return HttpError(400, f"Multipart form parse error - {reason}")
