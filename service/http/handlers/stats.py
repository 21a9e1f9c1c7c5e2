"""The handler of the statistics of a key."""

import re
import time
from typing import Final

from aiohttp import web

from service.domain.errors import NotFoundError
from service.domain.usage import DAY, HOUR, OutcomeKind
from service.http.dispatcher import RequestContext
from service.http.errors import HttpError
from service.http.request import query_parameter
from service.http.server.response import Response, json_response

_RESOLUTION: Final = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": HOUR, "d": DAY}
_MAX_BUCKETS: Final = 10_000
_LAST_TIME: Final = 253_402_214_400
"""The last day of the year 9999; Postgres and Python both can represent it."""

_MEMBERS: Final = {
    "dropped": OutcomeKind.RATE_LIMITED,
    "accepted": OutcomeKind.ACCEPTED,
    "filtered": OutcomeKind.FILTERED,
}


async def get_key_stats(context: RequestContext) -> Response:
    """``GET …/keys/{key_id}/stats/``: the errors of a key in each hour or day (``resolution``).

    From the bucket that contains ``since`` to that with ``until``, Unix times. 404 if usage is not collected.
    """
    usage = context.use_cases.usage
    if usage is None:
        raise NotFoundError("USAGE is false")
    key = await context.use_cases.read_keys.get(context.project, context.key_id)
    try:
        buckets = _requested_buckets(context.request, now=time.time())
    except ValueError:
        raise HttpError(400, "Invalid request data") from None
    found = await usage.of_key(context.project, key, buckets)
    rows = [(start, {name: found.get((start, kind), 0) for name, kind in _MEMBERS.items()}) for start in buckets]
    body = [{"ts": start, "total": sum(row.values()), **row} for start, row in rows]
    return json_response(body)


def _requested_buckets(request: web.Request, *, now: float) -> range:
    """Return the Unix times at which the requested buckets begin; raise ValueError for invalid parameters."""
    match = _RESOLUTION.fullmatch(query_parameter(request, "resolution") or "1d")
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    until = float(query_parameter(request, "until") or now)
    since = float(query_parameter(request, "since") or until - DAY + 1)
    if seconds not in (HOUR, DAY) or not 0 <= since <= until <= _LAST_TIME:  # also if one is not a number
        raise ValueError
    buckets = range(int(since) // seconds * seconds, int(until) + 1, seconds)
    if len(buckets) > _MAX_BUCKETS:
        raise ValueError
    return buckets
