"""Unmodified clients from the package registries, run against the service: `make clients`."""
