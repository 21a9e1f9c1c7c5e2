"""Counts the usage of keys from the topic of outcomes."""
