"""The use cases of the service; each write has a transaction of its own."""
