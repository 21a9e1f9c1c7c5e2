"""Measurements with many keys: `python -m bench.scale`."""
