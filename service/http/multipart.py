"""The fields in a body of multipart/form-data (RFC 7578), read in linear time and without nesting.

Own code: `email` takes quadratic time, aiohttp's reader needs a stream, nests parts and takes seconds for 64 KiB of
semicolons or of empty parts, and a library with its lock is more than these few lines.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from service.http.errors import HttpError

_MAX_PART_HEADERS: Final = 512
"""Bytes of the headers of one part: a field's name, a file name of 255 bytes and a type fit."""

_BOUNDARY: Final = re.compile(r"[ -~]{0,69}[!-~]")
"""RFC 2046, section 5.1.1: at most 70 characters, the last of them no space. Clients use more than its alphabet."""

_BLANK_LINE: Final = re.compile(rb"^\r?\n", re.MULTILINE)
_HEADER: Final = re.compile(r"^([!-9;-~]++):((?:.|\n[ \t])*+)", re.MULTILINE)
"""A header with its continuation lines. The possessive ``*+`` and ``++`` never try a shorter match, which would
take quadratic time."""

_PARAMETER: Final = re.compile(
    r'(?:;\s*+)++(?:([^\s;="]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;"]*+)))?+\s*+', re.DOTALL
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})


def iter_fields(raw: bytes, content_type: str) -> Iterator[tuple[str, str] | None]:
    """Yield the name and the value of each part, None for a part without a name, a file or a nested multipart.

    Args:
        raw: the body.
        content_type: the whole Content-Type of the request.

    Raises:
        Refusal: 400; the Content-Type has no usable boundary, the body does not have it, or a part is malformed.
    """
    end_of_previous = None
    for delimiter in _delimiter(content_type).finditer(raw):
        if end_of_previous is not None:
            yield _field(raw[end_of_previous : delimiter.start()])
        end_of_previous = delimiter.end()
        if delimiter["closing"]:
            return
    if end_of_previous is None:
        raise _parse_error("the body has not the boundary that the Content-Type names.")
    yield _field(raw[end_of_previous:])


def _delimiter(content_type: str) -> re.Pattern[bytes]:
    """Return the pattern of the lines between the parts, each with its line end."""
    parameters = _parameters(content_type)
    if parameters is None:
        raise _parse_error("the Content-Type is malformed.")
    boundary = parameters.get("boundary")
    if not boundary:
        raise _parse_error("the Content-Type names no boundary.")
    if not _BOUNDARY.fullmatch(boundary):
        raise _parse_error("the boundary must be 1 to 70 ASCII characters and not end with a space.")
    text = re.escape(boundary.encode())
    return re.compile(rb"^--" + text + rb"(?P<closing>--)?[ \t]*+(?:\r?\n|\Z)", re.MULTILINE)


def _field(part: bytes) -> tuple[str, str] | None:
    part = part.removesuffix(b"\n").removesuffix(b"\r")  # the line end before a delimiter belongs to that
    blank_line = _BLANK_LINE.search(part, 0, _MAX_PART_HEADERS)
    if blank_line is None and len(part) > _MAX_PART_HEADERS:
        raise _parse_error(f"the headers of a part are longer than {_MAX_PART_HEADERS} bytes.")
    end, start = blank_line.span() if blank_line else (len(part), len(part))
    headers = _headers(part[:end].decode(errors="replace").replace("\r\n", "\n"))
    if headers.get("content-transfer-encoding", "").lower() not in _PLAIN_ENCODINGS:
        raise _parse_error("a part has a Content-Transfer-Encoding; send its value as it is.")
    parameters = _parameters(headers.get("content-disposition", ""))
    if parameters is None:
        raise _parse_error("the Content-Disposition of a part is malformed.")
    if "filename" in parameters or "filename*" in parameters or "name" not in parameters:
        return None
    if (
        headers.get("content-type", "").lower().startswith("multipart/")
    ):  # several files, in forms before RFC 7578
        return None
    return parameters["name"], part[start:].decode(errors="replace")


def _headers(text: str) -> Mapping[str, str]:
    """Return headers by their names in lower case; of several with one name the first."""
    headers: dict[str, str] = {}
    for name, value in _HEADER.findall(text):
        headers.setdefault(name.lower(), value.strip())
    return headers


def _parameters(header: str) -> Mapping[str, str] | None:
    """Return the parameters of a header by their names in lower case; None if it is malformed or repeats one."""
    parameters: dict[str, str] = {}
    position = len(header.partition(";")[0])
    while position < len(header):
        found = _PARAMETER.match(header, position)
        if found is None:
            return None
        position = found.end()
        name, quoted, token = found.groups()
        if name is not None:
            if name.lower() in parameters:
                return None
            parameters[name.lower()] = token.strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
    return parameters


def _parse_error(reason: str) -> HttpError:
    return HttpError(400, f"Multipart form parse error - {reason}")
