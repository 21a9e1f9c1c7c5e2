"""Fault experiments: what happens to keys and events when parts of the service are killed, paused or disconnected."""
