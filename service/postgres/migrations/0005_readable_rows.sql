-- `migrate` runs this file in one transaction.
-- squawk-ignore-file prefer-robust-stmts
-- Refuse rows that the service could not read, which only other programs write. Existing rows are checked and repaired
-- by the next migration.

-- No read and no write waits for this lock. It waits for an autovacuum, which Postgres cancels after a second.
LOCK TABLE organization, project, project_key, outbox, api_token, audit_entry IN SHARE UPDATE EXCLUSIVE MODE;

-- All requests wait for the next locks, which are held for milliseconds. Transactions that prevent them for longer
-- delay the migration and not the requests.
SET LOCAL lock_timeout = '100ms';

ALTER TABLE organization ADD CONSTRAINT organization_is_readable CHECK (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND ingest_url ~ '^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$'
) NOT VALID;

ALTER TABLE project ADD CONSTRAINT project_is_readable CHECK (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
) NOT VALID;

ALTER TABLE project_key ADD CONSTRAINT project_key_is_readable CHECK (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND loader_options::text ~ '^\s*\{(\s*"has[A-Za-z]+"\s*:\s*(true|false)\s*[,}]){5}\s*$'
    AND loader_options::text LIKE ALL (ARRAY['%"hasReplay"%', '%"hasPerformance"%', '%"hasDebug"%',
                                             '%"hasFeedback"%', '%"hasLogsAndMetrics"%'])
) NOT VALID;

ALTER TABLE outbox ADD CONSTRAINT outbox_is_readable CHECK (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
) NOT VALID;

ALTER TABLE api_token ADD CONSTRAINT api_token_is_readable CHECK (
    least(created_at, expires_at, last_used_at, revoked_at) >= '1970-01-01 00:00:00+00'
    AND greatest(created_at, expires_at, last_used_at, revoked_at) <= '9999-12-31 00:00:00+00'
) NOT VALID;

ALTER TABLE audit_entry ADD CONSTRAINT audit_entry_is_readable CHECK (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
) NOT VALID;
