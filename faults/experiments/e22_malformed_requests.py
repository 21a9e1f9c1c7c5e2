"""E22: malformed requests beside the load: bodies, members, paths, headers and bytes that are not HTTP."""

import asyncio
import json
import random
import time
from dataclasses import replace
from typing import Any, Final

from faults.experiment import Experiment, ExperimentResult, Plan, new_experiment
from faults.history import Action, Call, Outcome, Tenant
from faults.shared_servers import SharedServers
from testkit.http_client import Response, read_response

_CASES: Final = 10_000
_PARALLEL: Final = 8
_RESPONSE_BOUND: Final = 2.0
_TIMEOUT: Final = 12.0
_SERVER_ERROR: Final = 500

_VALUES: Final[tuple[Any, ...]] = (
    0, -1, 1, 1.5, 2**31, 2**63, 10**400, True, False, None, "", " ", "0", "true", "\0", "\ud800", "\u202e", "x" * 65,
    "é" * 64, "a" * 31 + "g", "'; DROP TABLE project_key; --", [], [[]], {}, {"": {}}, {"window": "1", "count": None},
    {"window": 60, "count": 10**30}, {"hasReplay": "maybe"}, "10.x", "latest", "../../x", "<script>", "%s%n",
    "🗝" * 64,
)  # fmt: skip
_MEMBERS: Final = (
    "public", "secret", "rateLimit", "browserSdkVersion", "dynamicSdkLoaderOptions", "isActive", "id", "version", "",
)  # fmt: skip
_HEADERS: Final = (
    "Content-Encoding: gzip", "Content-Type: text/xml", "Content-Type: application/json; charset=utf-16",
    "Accept: x/y",
    "Idempotency-Key: ", "Idempotency-Key: " + "k" * 256, "Prefer: wait=x", "X-Request-Id: \x7f", "Expect: 200-maybe",
    "X-Forwarded-For: 1.2.3.4", "traceparent: 00-zz", "Connection: upgrade", "Range: bytes=0-1",
)  # fmt: skip
_NOT_HTTP: Final = (
    b"\0" * 64 + b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n",
    b"A" * 9000 + b"\r\n\r\n",
)


async def run(servers: SharedServers, plan: Plan) -> ExperimentResult:
    """Every request gets a response other than 5xx; the load is not affected."""
    cases = 300 if plan.short else plan.rounds * _CASES
    async with new_experiment(servers, plan) as experiment:
        statuses: dict[int, int] = {}
        slowest = 0.0
        async with experiment.under_load():
            for number in range(0, cases, _PARALLEL):
                if number % 1000 == 0:
                    experiment.report(f"case {number} of {cases}, {experiment.load.acknowledged} acknowledged")
                rngs = [random.Random(f"{plan.seed}-{number + offset}") for offset in range(_PARALLEL)]
                for status, took in await asyncio.gather(*(_case(experiment, rng) for rng in rngs)):
                    statuses[status] = statuses.get(status, 0) + 1
                    slowest = max(slowest, took)
        experiment.expect_within(slowest, _RESPONSE_BOUND, "a response to a malformed request")
        experiment.metrics["responses"] = ", ".join(
            f"{number} {status}" for status, number in sorted(statuses.items())
        )
        experiment.metrics["slowest"] = f"{slowest * 1000:.0f} ms"
        bad = {status for status in statuses if status >= _SERVER_ERROR or status == 0}
        experiment.expect(not bad, f"malformed requests got {bad} (0: no response)")
        experiment.expect_no_failures()
        return await experiment.check(duplicates=0)


async def _case(experiment: Experiment, rng: random.Random) -> tuple[int, float]:
    """Send a malformed request; return the status, 0 without a response, and the seconds."""
    tenant = rng.choice(experiment.deployment.tenants)
    sent = rng.choice(_NOT_HTTP) if rng.random() < 0.1 else _request(experiment, tenant, rng)  # noqa: PLR2004 -- a tenth
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", rng.choice(experiment.replicas).port)
    try:
        writer.write(sent)
        async with asyncio.timeout(_TIMEOUT):
            response = await read_response(reader)
    except (OSError, EOFError, ValueError):
        return 0, time.monotonic() - began
    finally:
        writer.close()
    ended = time.monotonic()
    if response.status == 201:  # noqa: PLR2004 -- an HTTP status
        _record(experiment, tenant, response, began, ended)
    return response.status, ended - began


def _request(experiment: Experiment, tenant: Tenant, rng: random.Random) -> bytes:
    path = tenant.keys_path if rng.random() < 0.8 else tenant.keys_path + _text(rng)  # noqa: PLR2004 -- mostly
    headers = [rng.choice(_HEADERS) for _ in range(rng.choice((0, 0, 1, 2)))]
    body = _body(rng)
    head = [
        f"{rng.choice(('POST', 'POST', 'POST', 'PUT', 'DELETE', 'GET', 'PATCH', 'FOO'))} {path} HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Authorization: Bearer {experiment.deployment.token}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    if not any(header.startswith("Content-Type") for header in headers):
        head.append("Content-Type: application/json")
    return "\r\n".join([*head, "", ""]).encode() + body


def _text(rng: random.Random) -> str:
    return rng.choice(
        ("%00/", "a" * 32 + "/", "x" * 5000, "%2e%2e/%2e%2e/", "?cursor=0:0:x", "//", "é/", "1" * 400 + "/")
    )


def _body(rng: random.Random) -> bytes:
    # A unique name, so that the checker can identify the key.
    members = {"name": f"odd {rng.randrange(10**12)}"}
    members |= {rng.choice(_MEMBERS): rng.choice(_VALUES) for _ in range(rng.randint(0, 3))}
    text = json.dumps(members).encode()
    if rng.random() < 0.3:  # noqa: PLR2004 -- about a third
        place = rng.randrange(len(text))
        text = text[:place] + bytes([rng.randrange(256)]) + text[place + rng.randint(0, 2) :]
    return text if rng.random() < 0.9 else text * rng.randint(0, 2000)  # noqa: PLR2004 -- mostly


def _record(experiment: Experiment, tenant: Tenant, response: Response, began: float, ended: float) -> None:
    """Record a success, so that the key is checked like all others."""
    key = response.json()
    call = Call(Action.CREATE, tenant, key["name"], began, ended, Outcome.OK, response.status, key["id"])
    experiment.load.calls.append(replace(call, event_id=response.headers["event-id"], secret=key["secret"]))
