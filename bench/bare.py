"""The rival of every read: aiohttp on uvloop with one handler, which answers constant bytes.

`python -m bench.bare PORT LENGTH` serves bodies of that length until it is ended.
"""

import sys

import uvloop
from aiohttp import web


def main() -> None:
    """Serve."""
    port, length = map(int, sys.argv[1:])
    body = b" " * length

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
