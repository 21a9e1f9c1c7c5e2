"""A table for every parser: requests whose parts are as long, as deep or as numerous as the limits allow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.http.docs.swagger_page import DOCUMENT
from tests.raw_requests import Target

BODY_LIMIT: Final = 65_536
"""Bytes; the default of the setting."""

_LONG: Final = 60_000
_HEADER: Final = 8_100
"""Characters: the server accepts lines of at most 8 190."""

_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data; boundary=x"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A request and the status of its only response.

    ``in_steps``: aiohttp pauses its parser after 16 384 chunks, so that the work is divided into steps of the loop.
    """

    name: str
    request: bytes
    status: int
    in_steps: bool = False


def hostile_inputs(target: Target) -> Iterator[Hostile]:
    """Yield all requests of the table; the names do not depend on ``target``."""
    yield from _of_bodies(target)
    yield from _of_heads(target)


def _of_bodies(target: Target) -> Iterator[Hostile]:
    for name, status, body in _json_bodies():
        key = f"Idempotency-Key: {name.replace(' ', '-')}"  # with which the body is serialized for its fingerprint
        yield Hostile(f"json, {name}", _post(target, body, "application/json", key), status)
    for name, status, body in _form_bodies():
        yield Hostile(f"form, {name}", _post(target, body, _FORM), status)
    for name, status, body, content_type in _multipart_bodies():
        yield Hostile(f"multipart, {name}", _post(target, body, content_type), status)
    for number in (16_000, BODY_LIMIT):
        yield Hostile(f"{number} chunks of one byte", _chunked(target, number), 400, in_steps=True)
    for path, member in _MEMBERS:
        for name, value in _VALUES.items():
            body = b'{"name":"n","%s":%s}' % (member.encode(), value)
            yield Hostile(f"{member}, {name}", _post(target, body, path=path), 400)


def _of_heads(target: Target) -> Iterator[Hostile]:
    for name, status, header, value in _headers():
        yield Hostile(f"{header}, {name}", _post(target, b"{}", "application/json", f"{header}: {value}"), status)
    for name, status, query in _queries():
        yield Hostile(f"query, {name}", target.get(f"{target.path}?{query}"), status)
    for name, part in _NAMES.items():
        yield Hostile(f"path, {name}", target.get(f"/api/0/projects/{part}/{part}/keys/{part}/"), 404)
    for name, value in _ENTITY_TAGS.items():
        yield Hostile(f"If-None-Match, {name}", target.get(DOCUMENT, f"If-None-Match: {value}"), 200)


def _post(target: Target, body: bytes, content_type: str = "application/json", *lines: str, path: str = "") -> bytes:
    head = (
        f"POST {path or target.path} HTTP/1.1",
        "Host: a",
        "Connection: close",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *([] if any(line.startswith("Authorization:") for line in lines) else [_authorization(target)]),
    )
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body


def _chunked(target: Target, number: int) -> bytes:
    return target.head("Transfer-Encoding: chunked") + b"1\r\n \r\n" * number + b"0\r\n\r\n"


def _authorization(target: Target) -> str:
    return f"Authorization: Bearer {target.token}"


def _json_bodies() -> Iterator[tuple[str, int, bytes]]:
    yield "arrays opened", 400, b"[" * BODY_LIMIT
    yield "arrays in arrays", 400, b"[" * (BODY_LIMIT // 2) + b"]" * (BODY_LIMIT // 2)
    yield "objects opened", 400, b'{"a":' * (BODY_LIMIT // 5)
    for depth in (62, 250, 500, 900, 980, 1_000, 1_015):
        deep, status = b"[" * depth + b"]" * depth, 201 if depth == 62 else 400
        yield f"{depth} arrays in an unknown member", status, b'{"unknown":%s}' % deep
        yield f"{depth} arrays and a lone surrogate", status, b'{"unknown":["\\ud800",%s]}' % deep
        yield f"{depth} arrays in a choice", 400, b'{"useCase":%s}' % deep
        yield f"{depth} arrays in a name", 400, b'{"name":%s}' % deep
        yield f"{depth} arrays in a number", 400, b'{"rateLimit":{"count":1,"window":%s}}' % deep
        yield f"{depth} arrays in a boolean", 400, b'{"dynamicSdkLoaderOptions":{"hasReplay":%s}}' % deep
    yield "arrays side by side", 201, b'{"unknown":[%s[]]}' % (b"[]," * 21_000)
    yield "digits", 400, b"9" * BODY_LIMIT
    yield "digits in a name", 400, b'{"name":%s}' % (b"9" * _LONG)
    yield "numbers of 4 299 digits", 201, b'{"unknown":["\\ud800"%s]}' % ((b"," + b"9" * 4_299) * 15)
    yield "digits after the point", 201, b'{"unknown":0.%s}' % (b"9" * _LONG)
    yield "digits of the exponent", 201, b'{"unknown":1e%s}' % (b"9" * 4_000)
    yield "members", 201, b"{%s}" % b",".join(b'"%d":1' % number for number in range(6_400))
    yield "lone surrogates", 201, b'{"unknown":"%s"}' % (b"\\ud800" * 10_000)
    yield "an unterminated string", 400, b'"' + b"\\" * (BODY_LIMIT - 1)
    yield "spaces", 400, b" " * BODY_LIMIT
    yield "line ends before an error", 400, b"\n" * (BODY_LIMIT - 1) + b"x"
    yield "numbers before an error", 400, b"[" + b"1," * (BODY_LIMIT // 2 - 1)
    yield "not UTF-8", 400, b'"' + "é".encode() * 32_000 + b"\xff"


def _form_bodies() -> Iterator[tuple[str, int, bytes]]:
    yield "percents", 201, b"unknown=" + b"%" * _LONG
    yield "percents in a name", 400, b"name=" + b"%" * _LONG
    yield "encoded bytes", 201, b"unknown=" + b"%41" * (_LONG // 3)
    yield "encoded bytes between others", 201, b"unknown=" + b"%41a" * (_LONG // 4)
    yield "encoded bytes that are not UTF-8", 201, b"unknown=" + b"%ff" * (_LONG // 3)
    yield "bytes that are not UTF-8", 201, b"\xff" * BODY_LIMIT
    yield "pluses", 201, b"unknown=" + b"+" * _LONG
    yield "equals signs", 201, b"=" * BODY_LIMIT
    yield "ampersands", 400, b"&" * BODY_LIMIT
    yield "pairs", 400, b"a=1&" * (BODY_LIMIT // 4)


def _part(disposition: bytes, value: bytes = b"v") -> bytes:
    return b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + value + b"\r\n"


def _multipart_bodies() -> Iterator[tuple[str, int, bytes, str]]:
    end, good = b"--x--\r\n", _part(b'form-data; name="name"')
    yield "26 000 semicolons in a part", 400, _part(b"form-data" + b";" * 26_000) + end, _MULTIPART
    yield "60 049 bytes of semicolons in a part", 400, _part(b"form-data" + b";" * 59_995) + end, _MULTIPART
    yield "semicolons in every part", 400, _part(b"form-data" + b";" * 600) * 98 + end, _MULTIPART
    yield "as many semicolons as are accepted", 201, _part(b"form-data" + b";" * 450) * 99 + end, _MULTIPART
    many = b"".join(b";%c%c=" % (97 + number // 26, 97 + number % 26) for number in range(110))
    yield "parameters in every part", 201, _part(b"form-data" + many) * 99 + end, _MULTIPART
    yield "spaces in every part", 201, _part(b"form-data; " + b" " * 450) * 99 + end, _MULTIPART
    yield "quotes in every part", 400, _part(b"form-data" + b';a="' * 110) * 99 + end, _MULTIPART
    yield "backslashes in every part", 400, _part(b'form-data; a="' + b"\\" * 440) * 99 + end, _MULTIPART
    yield "parentheses in a part", 400, _part(b"form-data;" + b"(" * 3_000) + end, _MULTIPART
    yield "few parentheses in a part", 400, _part(b"form-data;" + b"(" * 300) + end, _MULTIPART
    yield "a parameter without a value in a part", 400, _part(b"form-data;name*") + end, _MULTIPART
    yield "headers in a part", 400, b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n" + end, _MULTIPART
    yield "empty parts", 400, b"--x\r\n\r\n\r\n" * 7_000, _MULTIPART
    yield "boundaries", 400, b"--x\r\n" * 13_000, _MULTIPART
    yield "boundaries inside lines", 201, _part(b"form-data; name=a", b"--x" * 20_000) + end, _MULTIPART
    yield "spaces after a boundary", 400, (b"--x" + b" " * 30_000 + b"y\r\n") * 2, _MULTIPART
    yield "line ends", 400, b"\n" * BODY_LIMIT, _MULTIPART
    yield "a long value", 201, _part(b"form-data; name=a", b"\r\n" * 30_000) + end, _MULTIPART
    nested = (b"--x%d\r\nContent-Type: multipart/mixed; boundary=x%d\r\n\r\n" % (n, n + 1) for n in range(900))
    yield "900 nested multiparts", 201, b"".join(nested), f"{_MULTIPART}0"
    yield "8 kB of semicolons in the type", 400, good + end, _MULTIPART + ";" * (_HEADER - 50)
    yield "semicolons in the type", 201, good + end, _MULTIPART + ";" * 200
    yield "3 000 parentheses in the type", 400, good + end, f"{_MULTIPART};" + "(" * 3_000
    yield "parentheses in the type", 400, good + end, f"{_MULTIPART};" + "(" * 200
    yield "a parameter without a value", 400, good + end, "multipart/form-data;boundary=x;name*"
    yield "a boundary of 71 characters", 400, good + end, "multipart/form-data; boundary=" + "x" * 71
    yield "an open quote", 400, good + end, 'multipart/form-data; boundary="' + "\\" * 200


_MEMBERS: Final = (
    ("", "name"),
    ("", "public"),
    ("", "rateLimit"),
    ("", "browserSdkVersion"),
    ("", "useCase"),
    ("/api/0/organizations/", "slug"),
    ("/api/0/organizations/", "ingestUrl"),
)
_VALUES: Final = {
    "letters": b'"%s"' % (b"a" * _LONG),
    "digits": b'"%s"' % (b"9" * _LONG),
    "hyphens": b'"%s"' % (b"a-" * (_LONG // 2)),
    "spaces": b'"a%sb"' % (b" " * _LONG),
    "points and zeros": b'"%s!"' % (b".0" * (_LONG // 2)),
    "zero bytes": b'"%s"' % (b"\\u0000" * (_LONG // 6)),
    "lone surrogates": b'"%s"' % (b"\\ud800" * (_LONG // 6)),
    "a URL of points": b'"http://a%s!"' % (b".-" * (_LONG // 2)),
    "a URL of slashes": b'"http://a%s!"' % (b"/a" * (_LONG // 2)),
    "a list": b"[%s1]" % (b"1," * (_LONG // 2)),
}
"""JSON values that are invalid for every member."""


def _headers() -> Iterator[tuple[str, int, str, str]]:
    for name, piece in (("commas", ","), ("semicolons", ";"), ("types", "a/b;q=1,"), ("spaces", ", ")):
        yield name, 406, "Accept", piece * (_HEADER // len(piece))
    for piece in (",", ";", ", ", ",wait", ",wait=", ", wait = 1 x", ",\t \t wait \t = \t 9999999999"):
        yield f"{piece!a} repeated", 201, "Prefer", piece * (_HEADER // len(piece))
    yield "spaces", 201, "Prefer", ",wait=" + " " * _HEADER + "x"
    yield "digits", 201, "Prefer", "wait=" + "9" * _HEADER
    yield "zeros", 201, "traceparent", "0" * _HEADER
    yield "hyphens", 201, "traceparent", "00-" * (_HEADER // 3)
    for name, value in (("letters", "a" * _HEADER), ("quotes", '"' * _HEADER), ("bytes", "\xff" * _HEADER)):
        yield name, 400, "Idempotency-Key", value
        yield name, 201, "X-Request-Id", value
        yield name, 401, "Authorization", f"Bearer {value}"
    yield "spaces", 401, "Authorization", "Bearer" + " " * _HEADER + "x"
    yield "words", 401, "Authorization", "Bearer " + "a " * (_HEADER // 2)
    yield "spaces that are not ASCII", 401, "Authorization", "Bearer" + "\xa0" * _HEADER
    yield "letters", 415, "Content-Encoding", "a" * _HEADER


def _queries() -> Iterator[tuple[str, int, str]]:
    for name, piece in (("parameters", "a&"), ("pairs", "a=1&"), ("ampersands", "&"), ("equals signs", "=")):
        yield name, 200, piece * (_HEADER // len(piece) - 50)
    for name, piece in (
        ("percents", "%"),
        ("zero bytes", "%00"),
        ("bytes that are not UTF-8", "%ff"),
        ("pluses", "+"),
    ):
        yield name, 200, "a=" + piece * (_HEADER // len(piece) - 50)
    yield "a page of 8 000 digits", 400, "per_page=" + "9" * 8_000
    yield "a page of 4 000 digits", 400, "per_page=" + "9" * 4_000
    yield "a cursor of 8 000 digits", 400, "cursor=" + "9" * 8_000 + ":0:0"
    yield "a cursor of three long numbers", 400, "cursor=" + ":".join(["9" * 2_600] * 3)
    yield "a cursor of colons", 400, "cursor=" + ":" * 8_000
    yield "a cursor of many numbers", 400, "cursor=" + "1:" * 4_000
    yield "a long format", 404, "format=" + "a" * 8_000


_NAMES: Final = {
    "letters": "a" * 2_600,
    "digits": "9" * 2_600,
    "percents": "%25" * 800,
    "zero bytes": "%00" * 800,
    "bytes that are not UTF-8": "%ff" * 800,
}
_ENTITY_TAGS: Final = {
    "tags": '"a",' * (_HEADER // 4),
    "quotes": '"' * _HEADER,
    "commas": "," * _HEADER,
    "weak marks": "W/" * (_HEADER // 2),
    "a tag and spaces": '"a"' + " " * (_HEADER - 4) + "x",
}
