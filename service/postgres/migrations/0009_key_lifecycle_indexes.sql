-- migrate: no transaction
-- squawk-ignore-file prefer-robust-stmts
-- Each statement can be repeated.
-- Without these indexes, each poll for expired keys and each request for a key by its name reads all keys.

ALTER TABLE project_key VALIDATE CONSTRAINT project_key_lifecycle_is_readable;

CREATE INDEX CONCURRENTLY IF NOT EXISTS project_key_expiring
    ON project_key (expires_at) WHERE is_active AND expires_at IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS project_key_by_name
    ON project_key (label, project_id, expires_at DESC, id);
