"""The rate of the edge's decisions for proxies in one process, without HTTP.

A process of its own: `python -m bench.decisions` reads a `Plan` as JSON and prints a `Decisions`.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from bench import worker
from bench.kit_loading import public_key
from projectkeys_consumer import NotReadyError, ProjectKeys
from service.edge.authorization import Authorization, RateWindows
from service.edge.client_keys import ClientKeys
from service.edge.metrics import EdgeMetrics
from service.edge.unknown_keys import UnknownKeys

PATH = "/auth?status=403"


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
        await source.ready()
        metrics = EdgeMetrics(CollectorRegistry())
        authorization = Authorization(
            ClientKeys(source), UnknownKeys(source), RateWindows(), metrics, fails_open=False
        )
        requests = [
            make_mocked_request("GET", PATH, headers=headers_of(public_key(number))) for number in range(plan.keys)
        ]
        return await _decide(authorization, requests, plan.seconds)


async def _decide(authorization: Authorization, requests: Sequence[web.Request], seconds: float) -> Decisions:
    decisions, began = 0, time.process_time()
    while (elapsed := time.process_time() - began) < seconds:
        for request in requests:
            response = await authorization.respond(request)
        decisions += len(requests)
        if response.status != 200:  # noqa: PLR2004 -- an HTTP status
            raise NotReadyError(f"a key is refused with {response.status}")
    return Decisions(decisions, elapsed)


def main() -> int:
    """Read the plan, execute it, print the result."""
    return worker.run(Plan, _measure, failures=(NotReadyError,))


if __name__ == "__main__":
    sys.exit(main())
