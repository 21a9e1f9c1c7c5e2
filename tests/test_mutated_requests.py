"""Good requests with something wrong at random: never a 5xx, and a service that goes on."""

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
_AT_ONCE = 50
_ANSWER = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")
_SILENCE = 0.4
"""Seconds after which no (further) answer is waited for: the rest of a body may be what the service waits for."""

_HALF_MADE = """
SELECT count(*) FROM project_key
WHERE NOT EXISTS (SELECT FROM outbox WHERE aggregateid = public_key AND type = 'projectkey.created')
   OR NOT EXISTS (SELECT FROM audit_entry WHERE target = public_key)
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


def _mutated(chance: random.Random, good: Sequence[bytes]) -> bytes:
    """A good request after one to four changes: something put in, left out, doubled, swapped or cut off."""
    raw = chance.choice(good)
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.randint(0, len(raw)) for _ in range(2))
        end = min(end, at + 40)
        piece = chance.choice(_PIECES)
        raw = chance.choice(
            [
                raw[:at] + piece + raw[at:],
                raw[:at] + piece + raw[end:],
                raw[:at] + raw[end:],
                raw[:end] + raw[at:],
                raw[:at]
                + bytes(byte ^ (1 << chance.randrange(8)) for byte in raw[at : at + 2])
                + raw[at + 2 :],
                raw[:at] if chance.random() < 0.1 else raw + chance.choice(good),
            ]
        )
    return raw


async def _statuses(site: Site, raw: bytes) -> list[int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.service.settings.port)
    got = b""
    with suppress(TimeoutError, ConnectionError):
        writer.write(raw)
        while True:
            async with asyncio.timeout(_SILENCE):
                piece = await reader.read(65536)
            if not piece:
                break
            got += piece
    writer.transport.abort()
    return [int(status) for status in _ANSWER.findall(got)]


async def test_thousands_of_broken_requests_do_no_harm(site: Site) -> None:
    """Each key that came of one is whole; the seed stands above, and the same requests come again with it."""
    at, chance = Target(site.keys_path, site.token), random.Random(_SEED)  # noqa: S311 -- hides nothing
    key = (await site.create({})).body["id"]
    one = f"{at.path}{key}/"
    length = f"Content-Length: {len(BODY)}"
    good = [
        at.head(length) + BODY,
        at.head("Transfer-Encoding: chunked") + f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n",
        at.head(length, "Idempotency-Key: x", "Prefer: wait=0", line=f"PUT {one} HTTP/1.1") + BODY,
        at.get(at.path),
        at.get(f"{at.path}?cursor=0:0:0&status=active&per_page=1", "Accept: application/json"),
        at.get(one, version="HTTP/1.0"),
        at.head(line=f"OPTIONS {at.path} HTTP/1.1"),
    ]
    seen = Counter[int]()
    for _ in range(_REQUESTS // _AT_ONCE):
        batch = [_mutated(chance, good) for _ in range(_AT_ONCE)]
        answers = await asyncio.gather(*(_statuses(site, raw) for raw in batch))
        for raw, statuses in zip(batch, answers, strict=True):
            assert all(status < 500 for status in statuses), raw
            seen.update(statuses)
    assert (await site.send("GET", site.keys_path)).status == 200
    assert await site.postgres.fetchval(_HALF_MADE) == 0
    assert seen[400] > _REQUESTS // 10
    assert seen[201] > 0
