"""The baseline of every read: aiohttp on uvloop with one handler that responds with constant bytes.

`python -m bench.constant_server LENGTH PORT` serves bodies of that length until it is stopped.
"""

import sys

import uvloop
from aiohttp import web


def main() -> None:
    """Serve."""
    length, port = map(int, sys.argv[1:])
    body = b" " * length

    async def respond(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/", respond)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
