"""Measurements of the service beside baselines, in one run."""
