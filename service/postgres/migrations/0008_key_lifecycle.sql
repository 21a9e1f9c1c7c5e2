-- `migrate` runs this file in one transaction.
-- squawk-ignore-file prefer-robust-stmts
-- When a key expires, and the key that took its place. The next migration validates the constraint.

-- No read and no write waits for this lock. It waits for an autovacuum, which Postgres cancels after a second.
LOCK TABLE project_key IN SHARE UPDATE EXCLUSIVE MODE;

-- All requests wait for the next lock. It is held for milliseconds; transactions that prevent it for longer delay the
-- migration and not the requests.
SET LOCAL lock_timeout = '100ms';

ALTER TABLE project_key
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN rotated_to text,
    ADD CONSTRAINT project_key_lifecycle_is_readable CHECK (
        expires_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND rotated_to ~ '^[a-f0-9]{32}$'
    ) NOT VALID;
