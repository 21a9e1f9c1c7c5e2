"""Parameters of a request's query."""

from aiohttp import web


def last(request: web.Request, name: str) -> str | None:
    """The value of a parameter; of several the last, as in a body; None where there is none."""
    if name not in request.query:
        return None
    return request.query.getall(name)[-1]
