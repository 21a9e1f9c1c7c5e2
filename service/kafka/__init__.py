"""Kafka: client, fenced producer, records, and checks of the topic."""
