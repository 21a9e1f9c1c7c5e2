"""Access to Postgres: a module per table, each SQL statement above the function that executes it."""
