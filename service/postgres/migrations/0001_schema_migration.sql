-- The table that records which migrations were applied. A program reads it to decide whether it is ready.

CREATE TABLE IF NOT EXISTS schema_migration (
    -- The file's name without ".sql". Unique: a migration is applied once.
    name        text PRIMARY KEY CHECK (name ~ '^[0-9]{4}_[a-z0-9_]+$'),
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE schema_migration IS 'The migrations that were applied to this database.';
