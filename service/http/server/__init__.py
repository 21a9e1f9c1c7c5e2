"""The HTTP server layer on top of aiohttp: connections, admission control, deadlines, rate limits and responses.

The path of a request: `connection` (limits of the connection, framing, admission) → aiohttp's router → `middleware`
(id, deadline, error responses, common headers, log) → a handler → `response`.

Why not aiohttp's own responses and middlewares: `web.Response` supports cookies, compression, chunks and signals, and
each response pays for them: building its head takes four times as long, a tenth of the time of a GET. A chain of
middlewares looks up the route of each request again. `python -m bench` prints the rate of GET beside that of a plain
aiohttp handler ("aiohttp with constant bytes"), and the tests of `response` compare each response with
`web.Response`.

To stream a response (for example server-sent events), return a subclass of `Response` that overrides ``prepare``:
send the head with ``request.writer.write``, without Content-Length and with ``Connection: close`` or after
``request.writer.enable_chunking()``; then send each part with ``request.writer.write``, which waits while the client
does not read, and end with ``write_eof``. The admission slot and the deadline of the request end before ``prepare``;
SEND_TIMEOUT limits each wait for the client; the stream itself must end when the process drains.
"""
