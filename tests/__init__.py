"""Tests against the real PostgreSQL and the real Apache Kafka."""
