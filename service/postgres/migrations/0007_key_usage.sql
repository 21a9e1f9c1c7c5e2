-- The usage of keys. The foreign key waits for writes of project_key, but does not read the table.
-- No read and no write waits for this lock. It waits for an autovacuum, which Postgres cancels after a second.
LOCK TABLE project_key IN SHARE UPDATE EXCLUSIVE MODE;

-- Writes of keys wait for the next locks, which are held for milliseconds. Transactions that prevent them for longer
-- delay the migration and not the requests.
SET LOCAL lock_timeout = '100ms';

CREATE TABLE IF NOT EXISTS key_usage (
    -- The row id of a key that exists or has been deleted since; 0: outcomes without a key, or of keys that did not exist.
    key_id      bigint NOT NULL CHECK (key_id >= 0),
    -- The data category of Sentry's protocol; 1: errors.
    category    smallint NOT NULL CHECK (category >= 0),
    -- The start of the hour in which the outcomes occurred, in UTC.
    hour        timestamptz NOT NULL,
    -- 0: accepted, 1: filtered, 2: rate limited; further ones as in Sentry's protocol.
    outcome     smallint NOT NULL CHECK (outcome >= 0),
    quantity    bigint NOT NULL CHECK (quantity >= 0),
    -- Finds the hours of a key.
    PRIMARY KEY (key_id, category, hour, outcome),
    CONSTRAINT key_usage_is_readable CHECK (hour BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);
-- Finds the hours that are older than USAGE_RETENTION, which are deleted. The table is new and empty.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS key_usage_oldest_first ON key_usage (hour);
COMMENT ON TABLE key_usage IS 'Outcomes of events by key and hour, counted from the topic of outcomes.';

CREATE TABLE IF NOT EXISTS key_last_seen (
    key_id      bigint PRIMARY KEY REFERENCES project_key ON DELETE CASCADE,
    hour        timestamptz NOT NULL,
    CONSTRAINT key_last_seen_is_readable CHECK (hour BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);
COMMENT ON TABLE key_last_seen IS 'The last hour with an outcome of a key; kept for as long as the key.';

CREATE TABLE IF NOT EXISTS usage_offset (
    topic       text NOT NULL,
    partition   integer NOT NULL CHECK (partition >= 0),
    -- The transaction that counts the records before this offset has set it: no record is counted twice.
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE usage_offset IS 'Up to which offset the outcomes of each partition are counted.';

CREATE TABLE IF NOT EXISTS usage_reader (
    -- The table has one row.
    is_only     boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- The process that reads the topic of outcomes; NULL: none, any process may claim the lease.
    owner       text,
    lease_until timestamptz,
    -- The first start, or the last time that Kafka had deleted records before they were read.
    complete_since timestamptz
);
COMMENT ON TABLE usage_reader IS 'The lease of the only reader of outcomes, by the clock of the database.';
INSERT INTO usage_reader DEFAULT VALUES ON CONFLICT DO NOTHING;
