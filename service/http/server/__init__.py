"""The HTTP server layer on top of aiohttp: connections, admission control, deadlines, rate limits and responses.

The path of a request: `connection` (limits of the connection, framing, admission) → `middleware` (route, id,
deadline, error responses, common headers, log) → a handler → `response`.

aiohttp's own responses, router and middlewares are not used because they are slower. `web.Response` supports cookies,
compression, chunks and signals; to build its head takes four times as long, which is a tenth of the time of a GET. A
chain of middlewares looks up the route of each request again. `python -m bench` prints the rate of GET and that of a
plain aiohttp handler ("aiohttp with constant bytes"); the tests of `response` compare each response with
`web.Response`.

To stream a response (for example server-sent events), return a subclass of `Response` that overrides ``prepare``:
send the head with ``request.writer.write``, without Content-Length and with ``Connection: close`` or after
``request.writer.enable_chunking()``; then send each part with ``request.writer.write``, which waits while the client
does not read, and end with ``write_eof``. The admission slot and the deadline of the request end before ``prepare``;
SEND_TIMEOUT limits each wait for the client. The subclass must end the stream when the process is draining.
"""
