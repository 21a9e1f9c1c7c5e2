"""Compares the topic with Postgres and repairs the differences."""
