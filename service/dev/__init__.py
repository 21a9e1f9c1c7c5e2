"""A real PostgreSQL and a real Apache Kafka from packages alone, for development and tests."""
