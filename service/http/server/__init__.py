"""The HTTP server layer: connections, admission control, deadlines, rate limits and responses."""
