"""Whether a caller can read JSON, the one form of every answer."""

from typing import Final

from aiohttp import web

from service.http.errors import HttpError
from service.http.queries import last

_MATCHING: Final = frozenset({"application/json", "application/*", "*/*"})


def check_acceptable(request: web.Request) -> None:
    """Let a caller pass who takes JSON; one who says nothing takes everything. Weights are not looked at.

    Raises:
        Refusal: 404 another ``format`` was asked for, 406 ``Accept`` leaves out JSON.
    """
    if request.query and last(request, "format") not in {None, "", "json"}:
        raise HttpError(404, "Not found.")
    accepted = request.headers.get("Accept")
    if accepted is None or accepted == "*/*":
        return
    kinds = (kind.partition(";")[0].strip().lower() for kind in accepted.split(","))
    if _MATCHING.isdisjoint(kinds):
        raise HttpError(406, "Could not satisfy the request Accept header.")
