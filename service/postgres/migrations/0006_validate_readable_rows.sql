-- migrate: no transaction
-- squawk-ignore-file prefer-robust-stmts
-- Each statement can be repeated.
-- Repair the rows that the constraints of the migration before refuse, and report each; then validate the constraints. No
-- read and no write waits for these statements, which read whole tables.

UPDATE organization
SET ingest_url = CASE WHEN ingest_url ~ '^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$'
                      THEN ingest_url END,
    created_at = least(greatest(created_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
WHERE NOT (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND coalesce(ingest_url ~ '^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$', true)
)
RETURNING format('Repaired organization %s: an ingest URL without a DSN or a time out of range.', slug);

UPDATE project_key
SET loader_options = CASE
        WHEN loader_options::text ~ '^\s*\{(\s*"has[A-Za-z]+"\s*:\s*(true|false)\s*[,}]){5}\s*$'
             AND loader_options::text LIKE ALL (ARRAY['%"hasReplay"%', '%"hasPerformance"%', '%"hasDebug"%',
                                                      '%"hasFeedback"%', '%"hasLogsAndMetrics"%'])
        THEN loader_options
        ELSE '{"hasReplay":true,"hasPerformance":true,"hasDebug":false,"hasFeedback":false,"hasLogsAndMetrics":false}'
    END,
    created_at = least(greatest(created_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
WHERE NOT (
    created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND loader_options::text ~ '^\s*\{(\s*"has[A-Za-z]+"\s*:\s*(true|false)\s*[,}]){5}\s*$'
    AND loader_options::text LIKE ALL (ARRAY['%"hasReplay"%', '%"hasPerformance"%', '%"hasDebug"%',
                                             '%"hasFeedback"%', '%"hasLogsAndMetrics"%'])
)
RETURNING format('Repaired key %s: loader options that are not five booleans or a time out of range.', public_key);

UPDATE project
SET created_at = least(greatest(created_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
WHERE created_at NOT BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
RETURNING format('Repaired project %s: a time out of range.', slug);

UPDATE outbox
SET created_at = least(greatest(created_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
WHERE created_at NOT BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
RETURNING format('Repaired event %s: a time out of range.', id);

UPDATE audit_entry
SET created_at = least(greatest(created_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
WHERE created_at NOT BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
RETURNING format('Repaired audit entry %s: a time out of range.', id);

UPDATE api_token
SET created_at = least(greatest(created_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00'),
    expires_at = least(greatest(expires_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00'),
    last_used_at = least(greatest(last_used_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00'),
    revoked_at = least(greatest(revoked_at, '1970-01-01 00:00:00+00'), '9999-12-31 00:00:00+00')
WHERE NOT (
    least(created_at, expires_at, last_used_at, revoked_at) >= '1970-01-01 00:00:00+00'
    AND greatest(created_at, expires_at, last_used_at, revoked_at) <= '9999-12-31 00:00:00+00'
)
RETURNING format('Repaired token %s: a time out of range.', name);

ALTER TABLE organization VALIDATE CONSTRAINT organization_is_readable;

ALTER TABLE project VALIDATE CONSTRAINT project_is_readable;

ALTER TABLE project_key VALIDATE CONSTRAINT project_key_is_readable;

ALTER TABLE outbox VALIDATE CONSTRAINT outbox_is_readable;

ALTER TABLE api_token VALIDATE CONSTRAINT api_token_is_readable;

ALTER TABLE audit_entry VALIDATE CONSTRAINT audit_entry_is_readable;
