"""Imports keys from a file and exports them: reading, comparison with Postgres, insertion."""
