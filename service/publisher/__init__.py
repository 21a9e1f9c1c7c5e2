"""Publishes the outbox to Kafka: in order for each key, at least once."""
