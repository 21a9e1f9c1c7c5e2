-- Terraform's provider sets the platform of a project and expects to read it again.

-- No read and no write waits for this lock. It waits for an autovacuum, which Postgres cancels after a second.
LOCK TABLE project IN SHARE UPDATE EXCLUSIVE MODE;

-- All requests wait for the next locks, which are held for milliseconds. Transactions that prevent them for longer
-- delay the migration and not the requests.
SET LOCAL lock_timeout = '100ms';

ALTER TABLE project ADD COLUMN IF NOT EXISTS platform text;
