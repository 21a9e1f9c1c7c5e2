"""Batching, queues, caches, backoff and supervision of asynchronous work, independent of keys."""
