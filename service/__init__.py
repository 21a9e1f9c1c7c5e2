"""Issues client keys for projects.

HTTP -> use case -> one transaction (key, event, audit entry) -> outbox -> publisher -> Kafka.
"""
