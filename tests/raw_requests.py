"""Malformed and unusual requests, with the statuses that are allowed for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BODY: Final = b'{"name": "smuggled"}'
_LENGTH: Final = f"Content-Length: {len(BODY)}"
_CHUNKED: Final = "Transfer-Encoding: chunked"
_CHUNK: Final = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes to send; the status of the response is one of ``statuses``."""

    name: str
    request: bytes
    statuses: frozenset[int]


@dataclass(frozen=True, slots=True)
class Target:
    """The path of a create and a token that permits it."""

    path: str
    token: str

    def head(self, *lines: str, line: str = "") -> bytes:
        """Return the head of a create with further ``lines``; ``line`` replaces the request line."""
        fixed = (line or f"POST {self.path} HTTP/1.1", "Host: a", f"Authorization: Bearer {self.token}")
        kind = "Content-Type: application/json"
        return "\r\n".join([*fixed, kind, "Connection: close", *lines, "", ""]).encode("latin-1")

    def get(self, path: str, *lines: str, version: str = "HTTP/1.1") -> bytes:
        """Return a GET."""
        fixed = (
            f"GET {path} {version}",
            "Host: a",
            f"Authorization: Bearer {self.token}",
            "Connection: close",
        )
        return "\r\n".join([*fixed, *lines, "", ""]).encode("latin-1")


_BAD_LENGTHS: Final = (
    "+20",
    "-20",
    "0x14",
    "2_0",
    "20 20",
    "20,20",
    "20, 20",
    "1e1",
    "",
    "9" * 40,
    "20.0",
    "\xb2",
    "abc",
)
_BAD_CODINGS: Final = (
    "xchunked",
    "chunked, identity",
    "chunked, chunked",
    "identity",
    "gzip",
    "\x0bchunked",
    "chunked;q=1",
    "",
)
_BAD_CHUNKS: Final = (
    b"g\r\n",
    b"-1\r\n",
    b"0x14\r\n",
    b" 14\r\n",
    b"+14\r\n",
    b"1_4\r\n",
    b"14\n",
    b"\r\n",
    b"F" * 17 + b"\r\n",
)
_BAD_HEADERS: Final = (
    "X: a\r\n folded",
    "X: a\n\rY: b",
    "X: a\rY: b",
    "X: a\0b",
    "X\0: a",
    "X Y: a",
    "X : a",
    ": a",
    "no colon",
    "X(: a",
    "Host: b",
    " X: a",
    f"{_CHUNKED}\r\n{_LENGTH}",
    f"{_LENGTH}\r\n{_CHUNKED}",
    f"{_LENGTH}\r\n{_LENGTH}",
    f"{_LENGTH}\r\nContent-Length: 0",
    f"{_CHUNKED}\r\n{_CHUNKED}",
    "Transfer-Encoding : chunked",
)
_BAD_LINES: Final = (
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/3\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/x.y\r\nHost: a\r\n\r\n",
    b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\tT / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"A" * 70_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"EHLO example.com\r\n",
    b"\x00" * 1000,
    b"\x1b[31mGET / HTTP/1.1\r\n\r\n",
)
_UNKNOWN_PATHS: Final = (
    "//api/0/organizations/",
    "/api//0/organizations/",
    "/./",
    "/api/0/../../etc/passwd",
    "/api/0/%2e%2e/%2e%2e/etc/passwd",
    "/api/0/..%2f..%2fetc/passwd",
    "/..",
    "/%00/",
    "/%0d%0aX:%20y/",
    "/%zz/",
    "/%",
    "/\\api\\0\\",
    "/api/0/organizations/;a=b/",
    "/docs/../api/0/nothing/",
    "/%ff%fe/",
    "/a?b=%0d%0aX:%20y",
    "/%E2%80%AE/",
)


def rejected(target: Target) -> Iterator[Raw]:
    """Yield malformed requests: 400, and the connection is closed."""
    bad = frozenset({400})
    for value in _BAD_LENGTHS:
        yield Raw(f"Content-Length {value[:20]!a}", target.head(f"Content-Length: {value}") + BODY, bad)
    for value in _BAD_CODINGS:
        yield Raw(f"Transfer-Encoding {value!a}", target.head(f"Transfer-Encoding: {value}") + _CHUNK, bad)
    for value in _BAD_HEADERS:
        yield Raw(f"header {value[:40]!a}", target.head(value) + _CHUNK, bad)
    for raw in _BAD_CHUNKS:
        yield Raw(f"chunk {raw!r}", target.head(_CHUNKED) + raw + BODY + b"\r\n0\r\n\r\n", bad)
    unended = f"{len(BODY):x}\r\n".encode() + BODY + b"0\r\n\r\n"
    yield Raw("a chunk without an end", target.head(_CHUNKED) + unended, bad)
    yield Raw("chunks before HTTP/1.1", target.head(_CHUNKED, line=f"POST {target.path} HTTP/1.0") + _CHUNK, bad)
    for raw in _BAD_LINES:
        yield Raw(f"line {raw[:40]!r}", raw, bad)


def accepted(target: Target) -> Iterator[Raw]:
    """Yield unusual requests that are valid HTTP."""
    for path in _UNKNOWN_PATHS:
        yield Raw(f"path {path!a}", target.get(path), frozenset({404}))
    good, host = frozenset({200}), "http://elsewhere.example"
    yield Raw("absolute form", target.get(f"{host}{target.path}"), good)
    yield Raw("a fragment", target.get(f"{target.path}#there"), good)
    yield Raw("a percent-encoded path", target.get(target.path.replace("keys", "%6b%65ys")), good)
    yield Raw("two spaces", target.get(f" {target.path}"), good)
    yield Raw("HTTP/1.0", target.get(target.path, version="HTTP/1.0"), good)
    yield Raw("empty lines before it", b"\r\n\r\n" + target.get(target.path), good)
    yield Raw("an upgrade", target.get(target.path, "Upgrade: h2c", "HTTP2-Settings: AAA"), good)
    yield Raw("a WebSocket", target.get(target.path, "Upgrade: websocket", "Sec-WebSocket-Key: x"), good)
    yield Raw("other hosts in headers", target.get(target.path, "X-Forwarded-Host: b", "Forwarded: host=b"), good)
    yield Raw("a method in a header", target.get(target.path, "X-HTTP-Method-Override: DELETE"), good)
    yield Raw("an unknown path below a project", target.get(target.path.replace("keys", "..")), frozenset({404}))
    yield Raw("asterisk form", target.head(line="OPTIONS * HTTP/1.1"), frozenset({400, 404}))
    yield Raw("authority form", target.head(line="CONNECT a:443 HTTP/1.1"), frozenset({400, 404, 405}))
    yield Raw("an unknown expectation", target.head("Expect: tea", _LENGTH) + BODY, frozenset({417}))
    yield Raw("a very large length", target.head("Content-Length: 999999999999"), frozenset({413}))
    yield Raw("a compressed body", target.head("Content-Encoding: gzip", _LENGTH) + BODY, frozenset({415}))
    yield Raw(
        "a chunk with an extension",
        target.head(_CHUNKED) + _CHUNK.replace(b"\r\n", b";a=b\r\n", 1),
        frozenset({201}),
    )
    yield Raw("a trailer", target.head(_CHUNKED) + _CHUNK[:-2] + b"X: y\r\n\r\n", frozenset({201}))
