"""The rate of the edge's decisions for proxies in one process, without HTTP.

A process of its own: `python -m bench.decisions` reads a `Plan` as JSON and prints a `Decisions`.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from bench import worker
from bench.kit_loading import LOAD_TIMEOUT, public_key
from projectkeys_consumer import NotReadyError, ProjectKeys
from service.edge.authorization import Authorization, RateWindows
from service.edge.client_keys import ClientKeys
from service.edge.metrics import EdgeMetrics
from service.edge.unknown_keys import UnknownKeys

PATH = "/auth?status=403"

_BATCH = 10
"""Requests that are created before their decisions are measured: few, so that they are in the processor's cache, as a
request is that a server has just received. The keys are random, so that most are in no cache."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The topic, its number of keys, and the duration in seconds of processor time."""

    bootstrap: str
    topic: str
    keys: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Decisions:
    """The number of decisions, and their seconds of processor time, which other programs do not change."""

    decisions: int
    seconds: float


def headers_of(key: str) -> dict[str, str]:
    """Return the headers of a request of nginx about an envelope of a key of project 1."""
    auth = f"Sentry sentry_key={key}, sentry_version=7, sentry_client=sentry.python/2.60.0"
    return {"X-Original-URI": "/api/1/envelope/", "X-Original-Method": "POST", "X-Sentry-Auth": auth}


async def _measure(plan: Plan) -> Decisions:
    async with ProjectKeys(bootstrap_servers=plan.bootstrap, topic=plan.topic) as source:
        await source.ready(LOAD_TIMEOUT)
        metrics = EdgeMetrics(CollectorRegistry())
        authorization = Authorization(
            ClientKeys(source), UnknownKeys(source), RateWindows(), metrics, fails_open=False
        )
        decisions, used, template = 0, 0.0, make_mocked_request("GET", PATH)
        while used < plan.seconds:
            keys = [public_key(random.randrange(plan.keys)) for _ in range(_BATCH)]
            used += await _decide(authorization, [template.clone(headers=headers_of(key)) for key in keys])
            decisions += _BATCH
        return Decisions(decisions, used)


async def _decide(authorization: Authorization, requests: Sequence[web.Request]) -> float:
    """Return the seconds of processor time for decisions about ``requests``."""
    began = time.process_time()
    for request in requests:
        response = await authorization.respond(request)
    used = time.process_time() - began
    if response.status != 200:  # noqa: PLR2004 -- an HTTP status
        raise NotReadyError(f"a key is refused with {response.status}")
    return used


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure, failures=(NotReadyError,))


if __name__ == "__main__":
    sys.exit(main())
