"""Random mutations of valid requests: never a 5xx, and the service continues."""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from tests.http_service import Site
from tests.raw_requests import BODY, Target

_REQUESTS = int(os.environ.get("MUTATED_REQUESTS", "1500"))
_SEED = int(os.environ.get("MUTATION_SEED", "1"))
_CONCURRENCY = 50
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")
_SILENCE = 0.4
"""Seconds to wait for a further response: the service may be waiting for the rest of a body."""

_INCOMPLETE_KEYS = """
SELECT count(*) FROM project_key
WHERE id > $1 AND (
    NOT EXISTS (SELECT FROM outbox WHERE aggregateid = public_key AND type = 'projectkey.created')
    OR NOT EXISTS (SELECT FROM audit_entry WHERE target = public_key)
)
"""

_PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"/",
        b"//",
        b"..",
        b"%",
        b"%00",
        b"%0a",
        b"\x80",
    ),
    *(
        b"\xff",
        b"{",
        b"}",
        b'"',
        b"\\",
        b"0",
        b"9" * 20,
        b"-1",
        b"1e999",
        b"Content-Length: 7\r\n",
        b"A" * 9000,
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Content-Encoding: gzip\r\n",
        b"\\ud800",
    ),
    *(
        b"\r\n\r\n",
        b"HTTP/1.1",
        b"Upgrade: h2c\r\n",
        b"Connection: upgrade\r\n",
        b"Content-Type: multipart/form-data\r\n",
    ),
)


def _mutated(rng: random.Random, valid: Sequence[bytes]) -> bytes:
    """Return a valid request after one to four changes: insert, replace, remove, repeat, flip bits or cut off."""
    raw = rng.choice(valid)
    for _ in range(rng.randint(1, 4)):
        start, end = sorted(rng.randint(0, len(raw)) for _ in range(2))
        end = min(end, start + 40)
        piece = rng.choice(_PIECES)
        raw = rng.choice(
            [
                raw[:start] + piece + raw[start:],
                raw[:start] + piece + raw[end:],
                raw[:start] + raw[end:],
                raw[:end] + raw[start:],
                raw[:start]
                + bytes(byte ^ (1 << rng.randrange(8)) for byte in raw[start : start + 2])
                + raw[start + 2 :],
                raw[:start] if rng.random() < 0.1 else raw + rng.choice(valid),
            ]
        )
    return raw


async def _statuses(site: Site, raw: bytes) -> list[int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
    received = b""
    with suppress(TimeoutError, ConnectionError):
        writer.write(raw)
        while True:
            async with asyncio.timeout(_SILENCE):
                piece = await reader.read(65536)
            if not piece:
                break
            received += piece
    writer.transport.abort()
    return [int(status) for status in _STATUS_LINE.findall(received)]


async def test_thousands_of_mutated_requests_do_no_harm(site: Site) -> None:
    """Each created key is complete; the seed makes the requests reproducible."""
    target, rng = Target(site.keys_path, site.token), random.Random(_SEED)  # noqa: S311 -- not for security
    newest = await site.postgres.fetchval("SELECT max(id) FROM project_key")  # other tests insert keys without events
    key = (await site.create({})).body["id"]
    key_path = f"{target.path}{key}/"
    length = f"Content-Length: {len(BODY)}"
    valid = [
        target.head(length) + BODY,
        target.head("Transfer-Encoding: chunked") + f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n",
        target.head(length, "Idempotency-Key: x", "Prefer: wait=0", line=f"PUT {key_path} HTTP/1.1") + BODY,
        target.get(target.path),
        target.get(f"{target.path}?cursor=0:0:0&status=active&per_page=1", "Accept: application/json"),
        target.get(key_path, version="HTTP/1.0"),
        target.head(line=f"OPTIONS {target.path} HTTP/1.1"),
    ]
    seen = Counter[int]()
    for _ in range(_REQUESTS // _CONCURRENCY):
        batch = [_mutated(rng, valid) for _ in range(_CONCURRENCY)]
        responses = await asyncio.gather(*(_statuses(site, raw) for raw in batch))
        for raw, statuses in zip(batch, responses, strict=True):
            assert all(status < 500 for status in statuses), raw
            seen.update(statuses)
    assert (await site.send("GET", site.keys_path)).status == 200
    assert await site.postgres.fetchval(_INCOMPLETE_KEYS, newest or 0) == 0
    assert seen[400] > _REQUESTS // 10
    assert seen[201] > 0
