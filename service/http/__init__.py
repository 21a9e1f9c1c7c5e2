"""The HTTP API: server layer, routes, handlers, and the pages that document it."""
