"""PostgreSQL and Apache Kafka from Python packages, for development and tests."""
