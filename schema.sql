-- The whole current schema. `projectkeys migrate` runs this file on an empty database, in one transaction. Databases of
-- earlier releases get to the same schema by the files in service/postgres/migrations/.

CREATE TABLE schema_version (
    version     integer PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE schema_version IS 'The greatest version is the current one; a program is not ready on a greater one than its own.';
INSERT INTO schema_version (version) VALUES (1);

CREATE TABLE schema_migration (
    -- The file's name without ".sql". Unique: a migration is applied once.
    name        text PRIMARY KEY CHECK (name ~ '^[0-9]{4}_[a-z0-9_]+$'),
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE schema_migration IS 'The migrations that were applied to this database.';

-- Tenants ---------------------------------------------------------------------------------------

CREATE TABLE organization (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Unique: a slug in a path identifies one organization. Never only digits: digits in a path are an id.
    slug        text NOT NULL UNIQUE
                CHECK (slug ~ '^[a-zA-Z0-9][a-zA-Z0-9-]{0,49}$' AND slug !~ '^[0-9]+$' AND slug !~ '-$'),
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- Replaces INGEST_URL in the DSNs of this organization's keys; NULL: INGEST_URL applies.
    ingest_url  text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Constraints of this kind refuse rows that the service could not read: a URL from which no DSN can be derived, a
    -- time that Python cannot represent.
    CONSTRAINT organization_is_readable CHECK (
        created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND ingest_url ~ '^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$'
    )
);

CREATE TABLE project (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organization,
    slug            text NOT NULL CHECK (slug ~ '^[a-z0-9_-]{1,50}$' AND slug !~ '^[0-9]+$'),
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- The version of the browser SDK for keys that have none of their own.
    default_browser_sdk_version text NOT NULL DEFAULT '10.x',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Set when the project has too many keys to delete in one transaction. No request finds it from then on, and a
    -- batch job deletes its keys.
    deleted_at      timestamptz,
    -- What clients set, such as python; the service does not use it. NULL: nothing.
    platform        text,
    CONSTRAINT project_is_readable CHECK (created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);
-- Prevents two projects with one slug in an organization, except those being deleted. Finds a project by its path, and
-- lists an organization's projects.
CREATE UNIQUE INDEX project_slug_taken ON project (organization_id, slug) WHERE deleted_at IS NULL;
-- Finds the projects of an organization whose keys are listed.
CREATE INDEX project_newest_first ON project (organization_id, id) WHERE deleted_at IS NULL;

CREATE TABLE project_slug_redirect (
    organization_id bigint NOT NULL REFERENCES organization,
    slug            text NOT NULL,
    project_id      bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    PRIMARY KEY (organization_id, slug)
);
-- Finds the redirects to a project, which are deleted with it.
CREATE INDEX project_slug_redirect_project ON project_slug_redirect (project_id);
COMMENT ON TABLE project_slug_redirect IS 'Former slugs of projects; a project that has the slug now takes precedence.';

-- Keys ------------------------------------------------------------------------------------------

CREATE TABLE project_key (
    -- The order of lists, newest first; never part of a response.
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          bigint NOT NULL REFERENCES project,
    label               text NOT NULL CHECK (length(label) BETWEEN 1 AND 64),
    -- Unique over all organizations: a DSN is looked up by it alone.
    public_key          text NOT NULL CHECK (public_key ~ '^[a-f0-9]{32}$'),
    secret_key          text NOT NULL CHECK (secret_key ~ '^[a-f0-9]{32}$'),
    is_active           boolean NOT NULL DEFAULT true,
    -- Events per window, and the window in seconds. Both or neither: one of them alone is no limit.
    rate_limit_count    integer CHECK (rate_limit_count > 0),
    rate_limit_window   integer CHECK (rate_limit_window BETWEEN 1 AND 86400),
    use_case            text NOT NULL DEFAULT 'user' CHECK (use_case IN ('user', 'profiling', 'tempest', 'demo')),
    -- NULL: the project's default_browser_sdk_version applies.
    browser_sdk_version text,
    -- The five options of the browser loader, each member true or false, and no other member.
    loader_options      json NOT NULL,
    -- Grows by one with each change of the row. Consumers apply an event only if its version is newer.
    version             bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the service disables the key, by the clock of the database; NULL: never.
    expires_at          timestamptz,
    -- The public key of the successor that a rotation created; it may have been deleted since.
    rotated_to          text,
    CONSTRAINT project_key_public_key_taken UNIQUE (public_key),
    CONSTRAINT project_key_secret_key_taken UNIQUE (secret_key),
    CONSTRAINT project_key_rate_limit_is_whole CHECK ((rate_limit_count IS NULL) = (rate_limit_window IS NULL)),
    -- A regular expression, because the operators of json fail on some texts that the type accepts, and take longer.
    CONSTRAINT project_key_is_readable CHECK (
        created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND loader_options::text ~ '^\s*\{(\s*"has[A-Za-z]+"\s*:\s*(true|false)\s*[,}]){5}\s*$'
        AND loader_options::text LIKE ALL (ARRAY['%"hasReplay"%', '%"hasPerformance"%', '%"hasDebug"%',
                                                 '%"hasFeedback"%', '%"hasLogsAndMetrics"%'])
    ),
    CONSTRAINT project_key_lifecycle_is_readable CHECK (
        expires_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND rotated_to ~ '^[a-f0-9]{32}$'
    )
);
-- Lists a project's keys newest first, one page at a time, without a sort.
CREATE INDEX project_key_newest_first ON project_key (project_id, id);
-- Lists a project's inactive keys, which are few, without reading the active ones.
CREATE INDEX project_key_switched_off ON project_key (project_id, id) WHERE NOT is_active;
-- Finds the keys that have expired, and counts those that soon will.
CREATE INDEX project_key_expiring ON project_key (expires_at) WHERE is_active AND expires_at IS NOT NULL;
-- Finds the key of a name: the one that never expires, or the one that expires last, without reading expired ones.
-- The label comes first, so that no statement that knows only the project uses this index.
CREATE INDEX project_key_by_name ON project_key (label, project_id, expires_at DESC, id);

CREATE TABLE deleted_key (
    public_key      text PRIMARY KEY,
    -- Only this organization may create a key with this public key again.
    organization_id bigint NOT NULL REFERENCES organization,
    project_id      bigint NOT NULL,
    -- The version of the deletion. A key that is created again continues from it, or consumers would ignore the key.
    version         bigint NOT NULL CHECK (version > 1),
    deleted_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE deleted_key IS 'Deleted keys; a replay publishes their tombstones again.';

-- The outbox ------------------------------------------------------------------------------------
-- The transaction that changes a key inserts the row of its event; the publisher deletes it when Kafka has acknowledged
-- the record. Columns that Debezium's outbox event router reads have the names that it expects.

CREATE TABLE outbox (
    -- The order of the events of one key: the key's row is locked before this number is assigned.
    seq           bigint GENERATED ALWAYS AS IDENTITY,
    -- The event's id. A record that is sent again has the same id.
    id            uuid NOT NULL,
    aggregatetype text NOT NULL DEFAULT 'project-keys',
    -- The public key, which is the record's key in Kafka.
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    version       bigint NOT NULL,
    -- The topic's partition: murmur2 of the public key.
    shard         smallint NOT NULL CHECK (shard >= 0),
    -- json, not jsonb: a record that is sent again has the same bytes.
    payload       json NOT NULL,
    headers       json NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    -- Set when Kafka has refused the record permanently.
    parked_at     timestamptz,
    CONSTRAINT outbox_is_readable CHECK (created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'),
    -- The owner of a shard reads its rows in this order.
    PRIMARY KEY (shard, seq)
)
-- Rows exist for milliseconds. Vacuum early, or reads of the oldest rows pass many dead index entries.
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
      autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);

-- Finds the keys with a parked event, whose later events are not published until it is resolved. Lists parked events.
CREATE INDEX outbox_parked ON outbox (shard, aggregateid) WHERE parked_at IS NOT NULL;

CREATE TABLE outbox_shard (
    shard       smallint PRIMARY KEY CHECK (shard >= 0),
    -- The process that publishes this shard; NULL: none, any process may claim the shard.
    owner       text,
    -- Grows by one with each change of the owner. Deletes by an earlier owner have no effect.
    epoch       bigint NOT NULL DEFAULT 0,
    lease_until timestamptz
);
COMMENT ON TABLE outbox_shard IS 'Leases of the shards, by the clock of the database.';
INSERT INTO outbox_shard (shard) SELECT generate_series(0, 11);

CREATE TABLE outbox_publisher (
    name        text PRIMARY KEY,
    lease_until timestamptz NOT NULL
);
COMMENT ON TABLE outbox_publisher IS 'The processes that publish; each owns at most its equal share of the shards.';

-- Usage, if USAGE is set ------------------------------------------------------------------------

CREATE TABLE key_usage (
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
-- Finds the hours that are older than USAGE_RETENTION, which are deleted.
CREATE INDEX key_usage_oldest_first ON key_usage (hour);
COMMENT ON TABLE key_usage IS 'Outcomes of events by key and hour, counted from the topic of outcomes.';

CREATE TABLE key_last_seen (
    key_id      bigint PRIMARY KEY REFERENCES project_key ON DELETE CASCADE,
    hour        timestamptz NOT NULL,
    CONSTRAINT key_last_seen_is_readable CHECK (hour BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);
COMMENT ON TABLE key_last_seen IS 'The last hour with an outcome of a key; kept for as long as the key.';

CREATE TABLE usage_offset (
    topic       text NOT NULL,
    partition   integer NOT NULL CHECK (partition >= 0),
    -- The transaction that counts the records before this offset has set it: no record is counted twice.
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE usage_offset IS 'Up to which offset the outcomes of each partition are counted.';

CREATE TABLE usage_reader (
    -- The table has one row.
    is_only     boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- The process that reads the topic of outcomes; NULL: none, any process may claim the lease.
    owner       text,
    lease_until timestamptz,
    -- The first start, or the last time that Kafka had deleted records before they were read.
    complete_since timestamptz
);
COMMENT ON TABLE usage_reader IS 'The lease of the only reader of outcomes, by the clock of the database.';
INSERT INTO usage_reader DEFAULT VALUES;

-- Tokens, idempotency keys and the audit log -----------------------------------------------------

CREATE TABLE api_token (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: the token is valid for all organizations.
    organization_id bigint REFERENCES organization,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- sha256 of the whole token, which itself is not stored. Unique: a token is looked up by its hash.
    token_hash      bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    -- Shown in lists, so that users can distinguish their tokens.
    last_four       text NOT NULL CHECK (length(last_four) = 4),
    scopes          text[] NOT NULL
                    CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['project:read', 'project:write', 'project:admin',
                                                                     'org:read', 'org:write', 'org:admin']),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Requests per second in each process; NULL: no limit.
    rate_limit      integer CHECK (rate_limit > 0),
    expires_at      timestamptz,
    -- Written at most once a minute.
    last_used_at    timestamptz,
    revoked_at      timestamptz,
    CONSTRAINT api_token_is_readable CHECK (
        least(created_at, expires_at, last_used_at, revoked_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, expires_at, last_used_at, revoked_at) <= '9999-12-31 00:00:00+00'
    )
);

-- Lists the tokens of an organization, newest first.
CREATE INDEX api_token_newest_first ON api_token (organization_id, id);

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

CREATE TABLE idempotency (
    -- Part of the primary key: two tokens may use the same idempotency key.
    token_id    bigint NOT NULL,
    key         text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- sha256 of method, path and body: a different request with the same idempotency key is refused.
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    -- The id of the created row in the table of the path. Never the response, which contains a secret.
    target_id   bigint NOT NULL,
    event_id    uuid,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (token_id, key)
);
COMMENT ON TABLE idempotency IS 'Idempotency keys of the last 24 hours, inserted in the transaction of what they created.';
-- Finds the rows that are older than 24 hours, which are deleted.
CREATE INDEX idempotency_oldest_first ON idempotency (created_at);

-- The audit log: who changed what, without secrets. The transaction of the change inserts the row; the service never
-- updates or deletes one.
CREATE TABLE audit_entry (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: the change concerns no organization, such as a token for all organizations.
    organization_id bigint,
    project_id      bigint,
    -- NULL: a command, not a request.
    token_id        bigint,
    action          text NOT NULL,
    -- A public key, a slug or a token's name.
    target          text NOT NULL,
    request_id      text NOT NULL,
    remote_address  text,
    data            json NOT NULL,
    -- The id of the change and of its event. Shows whether a change was committed whose COMMIT got no response.
    change_id       uuid NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_entry_is_readable CHECK (created_at BETWEEN '1970-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00')
);
-- Lists an organization's entries newest first, and finds a change among the newest.
CREATE INDEX audit_entry_newest_first ON audit_entry (organization_id, id);
-- These list the entries of one target, one token or one action newest first, without reading the organization's others.
CREATE INDEX audit_entry_target ON audit_entry (target, organization_id, id);
CREATE INDEX audit_entry_token ON audit_entry (token_id, organization_id, id);
CREATE INDEX audit_entry_action ON audit_entry (action, organization_id, id);

-- Batch jobs: each batch is one transaction of one replica ----------------------------------------

CREATE TABLE batch_job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- project.delete: deletes a project's keys, then the project. dsn.change: gives every key of an organization a new
    -- version, because its DSN has changed. replay: publishes the state of keys and the tombstones of deleted ones again.
    kind            text NOT NULL CHECK (kind IN ('project.delete', 'dsn.change', 'replay')),
    -- NULL: all organizations.
    organization_id bigint,
    project_id      bigint,
    -- Keys up to this row id are processed, then deleted keys up to the public key after_deleted.
    after_id        bigint NOT NULL DEFAULT 0,
    after_deleted   text,
    -- Only keys created since then; NULL: all.
    made_since      timestamptz,
    -- The time of the next batch. It is later than now for a second pass, which waits for writes that began before all
    -- processes had read the change, for a job with a rate, and after a failure. The job with the earliest time runs
    -- first, so that a long job delays no other.
    starts_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Keys per second; NULL: no limit.
    rate            integer CHECK (rate > 0),
    done            bigint NOT NULL DEFAULT 0,
    -- The number of keys when the job was created; NULL: not counted.
    total           bigint,
    -- The number of consecutive batches that failed, and the error of the last one.
    failures        integer NOT NULL DEFAULT 0,
    last_error      text,
    -- The token and the request that created the job, for the audit log and the events.
    token_id        bigint,
    request_id      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at     timestamptz,
    -- Only a replay can be cancelled: the other kinds complete a change that was committed.
    cancelled       boolean NOT NULL DEFAULT false CHECK (NOT cancelled OR (kind = 'replay' AND finished_at IS NOT NULL))
);
-- Finds the job that runs next.
CREATE INDEX batch_job_unfinished ON batch_job (starts_at) WHERE finished_at IS NULL;
