-- `migrate` runs this file in one transaction.
-- squawk-ignore-file prefer-robust-stmts, require-concurrent-index-creation
-- The sessions of the console. The table is new, so its indexes block no writes.

-- No read and no write waits for this lock. It waits for an autovacuum, which Postgres cancels after a second.
LOCK TABLE api_token IN SHARE UPDATE EXCLUSIVE MODE;

-- Writes of tokens wait for the next locks, which are held for milliseconds. Transactions that prevent them for longer
-- delay the migration and not the requests.
SET LOCAL lock_timeout = '100ms';

CREATE TABLE console_session (
    -- sha256 of the value of the cookie, with a prefix. Unique: a session is looked up by its hash.
    id_hash         bytea PRIMARY KEY CHECK (length(id_hash) = 32),
    -- The rights of the session are those of the token; it ends when the token is revoked or expires.
    token_id        bigint NOT NULL REFERENCES api_token ON DELETE CASCADE,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Written at most once a minute; a session ends after 30 minutes without use.
    last_used_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz NOT NULL,
    -- The service's role cannot set created_at, so no session of any token lasts longer.
    CONSTRAINT console_session_is_short CHECK (expires_at <= created_at + interval '8 hours'),
    CONSTRAINT console_session_is_readable CHECK (
        least(created_at, last_used_at, expires_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, last_used_at, expires_at) <= '9999-12-31 00:00:00+00'
    )
);
COMMENT ON TABLE console_session IS 'Sessions of the console, each opened with a token.';
-- Finds the sessions of a token, of which there are at most 20.
CREATE INDEX console_session_token ON console_session (token_id, created_at);
-- Finds the sessions that have ended, which are deleted.
CREATE INDEX console_session_expiry ON console_session (expires_at);
