"""E13: connections that stay idle, heads and bodies that never end, bodies that would unpack to gigabytes."""

import asyncio
import gzip
import resource
import time
from contextlib import suppress
from typing import Final

from faults.replica import Replica
from faults.trial import Figures, Plan, Trial, trial, under_load
from faults.world import World

_IDLE: Final = 10_000
_SLOW: Final = 1_000
_BOMBS: Final = 100
_KEEPALIVE: Final = 10.0
_BODY: Final = 2.0
_GONE_WITHIN: Final = _KEEPALIVE + _BODY + 5
_NOISE: Final = 0.1  # seconds
_RESIDENT: Final = 256 * 1024 * 1024
"""Bytes: what the deployment allows a replica."""

_OPEN_AT_ONCE: Final = 200
_FEW: Final = 150  # descriptors

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def run(world: World, plan: Plan) -> Figures:
    """Honest callers notice little, the others are gone when their time is over; too few descriptors end nothing."""
    async with trial(
        world,
        plan,
        replicas=1,
        KEEPALIVE_TIMEOUT=str(_KEEPALIVE),
        HEADER_TIMEOUT=str(_KEEPALIVE),
        MAX_NEW_CONNECTIONS="0",  # all attackers have one address
        BODY_TIMEOUT=str(_BODY),
        MAX_REQUESTS="3000",
    ) as one:
        [replica] = one.replicas
        async with under_load(one):
            await one.load.grows(100)
            for number in range(plan.rounds):
                one.say(f"round {number + 1} of {plan.rounds}, {one.load.acknowledged} acknowledged")
                await _attacked(one, replica)
            failed = one.load.unknown_since(0)
            one.expect(not failed, f"{len(failed)} calls failed: {failed[:2]}")
            await _too_few_descriptors(one, replica)
        return await one.judged(duplicates=0)


async def _attacked(one: Trial, replica: Replica) -> None:
    part = 0.03 if one.plan.short else 1
    before = one.load.slow()
    idle = await _opened(replica.port, int(_IDLE * part), b"")
    heads = await _opened(replica.port, int(_SLOW * part), b"POST / HTTP/1.1\r\nHost: x\r\nX-Half: ")
    bodies = await _opened(replica.port, int(_SLOW * part), _head(one, "Content-Length: 100", b'{"na'))
    bomb = gzip.compress(bytes(2**24 if one.plan.short else 2**28))
    bombs = await _opened(
        replica.port,
        max(3, int(_BOMBS * part)),
        _head(one, f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}", bomb[:60000]),
    )
    opened_at = time.monotonic()
    attackers = [*idle, *heads, *bodies, *bombs]
    one.own["attackers"] = str(len(attackers))
    left = await _left(attackers, _GONE_WITHIN * (2 if one.plan.short else 1))
    one.expect(not left, f"{left} attackers are still connected after {_GONE_WITHIN:g} s")
    one.own["gone after"] = f"{time.monotonic() - opened_at:.1f} s"
    # Not while they are being opened: that keeps this process busy, honest callers and all.
    during = one.load.slow(since=opened_at)
    one.expect_within(during, max(5 * before, _NOISE), f"p99, {before * 1000:.0f} ms before,")
    one.own["p99 before and during"] = f"{before * 1000:.0f} and {during * 1000:.0f} ms"
    one.own["resident"] = f"{replica.resident() >> 20} MiB"
    one.expect(replica.resident() <= _RESIDENT, f"{replica.resident() >> 20} MiB are resident")


def _head(one: Trial, headers: str, body: bytes) -> bytes:
    path, token = one.stage.tenants[0].keys_path, one.stage.token
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{headers}\r\n\r\n".encode()
        + body
    )


async def _opened(port: int, number: int, sent: bytes) -> list[Streams]:
    """So many connections, each with the beginning of something."""
    made: list[Streams] = []
    while len(made) < number:
        wanted = min(_OPEN_AT_ONCE, number - len(made))
        made += await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(wanted)))
    for _, writer in made:
        if sent:
            writer.write(sent)
    return made


async def _left(attackers: list[Streams], within: float) -> int:
    """How many are not thrown out in time."""

    async def thrown_out(streams: Streams) -> None:
        with suppress(OSError):
            while await streams[0].read(65536):
                pass
        streams[1].close()

    tasks = [asyncio.create_task(thrown_out(one)) for one in attackers]
    _, pending = await asyncio.wait(tasks, timeout=within)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _, writer in attackers:
        writer.close()
    return len(pending)


async def _too_few_descriptors(one: Trial, replica: Replica) -> None:
    """More connections than the process may have descriptors; it goes on when they are gone."""
    usual = resource.prlimit(replica.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(replica.pid, resource.RLIMIT_NOFILE, (_FEW, usual[1]))
    crowd = await _opened(replica.port, 2 * _FEW, b"")
    await asyncio.sleep(1)
    for _, writer in crowd:
        writer.close()
    await one.load.grows(30, within=30)
    resource.prlimit(replica.pid, resource.RLIMIT_NOFILE, usual)
    one.expect(replica.status is None, f"too few descriptors ended the replica: {replica.status}")
