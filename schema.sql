-- The whole current schema. `projectkeys migrate` runs it on an empty database, in one transaction.

CREATE TABLE schema_version (
    version     integer PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE schema_version IS 'Which versions of the schema were applied; the greatest is the current one.';
INSERT INTO schema_version (version) VALUES (1);

-- Tenants ---------------------------------------------------------------------------------------

CREATE TABLE organization (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Unique: a slug in a path names one organization. Never digits alone: those are an id.
    slug        text NOT NULL UNIQUE
                CHECK (slug ~ '^[a-zA-Z0-9][a-zA-Z0-9-]{0,49}$' AND slug !~ '^[0-9]+$' AND slug !~ '-$'),
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- Replaces INGEST_URL in the DSNs of this organization's keys.
    ingest_url  text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE project (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organization,
    slug            text NOT NULL CHECK (slug ~ '^[a-z0-9_-]{1,50}$' AND slug !~ '^[0-9]+$'),
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- What a key reports that names no version of its own.
    default_browser_sdk_version text NOT NULL DEFAULT '10.x',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Set where its keys are too many to go with it in one transaction: from then on nobody finds it.
    deleted_at      timestamptz
);
-- A slug names one living project of its organization; also finds it by both.
CREATE UNIQUE INDEX project_slug_taken ON project (organization_id, slug) WHERE deleted_at IS NULL;
-- Lists an organization's projects newest first, a page at a time, without sorting.
CREATE INDEX project_newest_first ON project (organization_id, id) WHERE deleted_at IS NULL;

CREATE TABLE project_slug_redirect (
    organization_id bigint NOT NULL REFERENCES organization,
    slug            text NOT NULL,
    project_id      bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    PRIMARY KEY (organization_id, slug)
);
COMMENT ON TABLE project_slug_redirect IS 'Where a project has gone that was called so; a living project of this name comes first.';

-- Keys ------------------------------------------------------------------------------------------

CREATE TABLE project_key (
    -- Lists go by it, newest first; never shown to callers.
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          bigint NOT NULL REFERENCES project,
    label               text NOT NULL CHECK (length(label) BETWEEN 1 AND 64),
    -- Unique over all tenants: a DSN is looked up by it alone.
    public_key          text NOT NULL CHECK (public_key ~ '^[a-f0-9]{32}$'),
    secret_key          text NOT NULL CHECK (secret_key ~ '^[a-f0-9]{32}$'),
    is_active           boolean NOT NULL DEFAULT true,
    -- Events of one window of seconds; both or neither: half a limit has no meaning.
    rate_limit_count    integer CHECK (rate_limit_count > 0),
    rate_limit_window   integer CHECK (rate_limit_window BETWEEN 1 AND 86400),
    use_case            text NOT NULL DEFAULT 'user' CHECK (use_case IN ('user', 'profiling', 'tempest', 'demo')),
    -- NULL: the project's default.
    browser_sdk_version text,
    -- The five switches of the browser loader, each member true or false.
    loader_options      json NOT NULL,
    -- 1 at first, one more with each change of the row; consumers apply an event only if its version is newer.
    version             bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT project_key_public_key_taken UNIQUE (public_key),
    CONSTRAINT project_key_secret_key_taken UNIQUE (secret_key),
    CONSTRAINT project_key_rate_limit_is_whole CHECK ((rate_limit_count IS NULL) = (rate_limit_window IS NULL))
);
-- Lists a project's keys newest first, a page at a time, without sorting.
CREATE INDEX project_key_newest_first ON project_key (project_id, id);
-- Lists those that were switched off, which are few, without reading all the others.
CREATE INDEX project_key_switched_off ON project_key (project_id, id) WHERE NOT is_active;

CREATE TABLE deleted_key (
    public_key      text PRIMARY KEY,
    -- Its owner, and no other, may issue this public key again.
    organization_id bigint NOT NULL REFERENCES organization,
    project_id      bigint NOT NULL,
    -- The version of its deletion; a key issued again goes on from here, or consumers would ignore it.
    version         bigint NOT NULL CHECK (version > 1),
    deleted_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE deleted_key IS 'Keys that are gone: what a replay has to tell tombstones of.';

-- The outbox ------------------------------------------------------------------------------------
-- A row is written in the transaction of the change it tells of and deleted when Kafka has acknowledged it.
-- The columns that Debezium's outbox router expects have the names it expects.

CREATE TABLE outbox (
    -- Order of the events of one key: its row is locked before this number is drawn.
    seq           bigint GENERATED ALWAYS AS IDENTITY,
    -- The event's id; a resend has the same.
    id            uuid NOT NULL,
    aggregatetype text NOT NULL DEFAULT 'project-keys',
    -- The public key, which is the record's key in Kafka.
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    version       bigint NOT NULL,
    -- The topic's partition: murmur2 of the public key.
    shard         smallint NOT NULL CHECK (shard >= 0),
    -- json, not jsonb: a resend has the same bytes.
    payload       json NOT NULL,
    headers       json NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    -- Set when Kafka has refused the row for good.
    parked_at     timestamptz,
    -- The owner of a shard reads its rows in this order.
    PRIMARY KEY (shard, seq)
)
-- Rows live for milliseconds: vacuum early, or the index's head fills with dead entries.
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
      autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);

-- Later events of a parked key wait behind it; all other keys flow. Tiny: looks for such a row, or lists them.
CREATE INDEX outbox_parked ON outbox (shard, aggregateid) WHERE parked_at IS NOT NULL;

CREATE TABLE outbox_shard (
    shard       smallint PRIMARY KEY CHECK (shard >= 0),
    -- The process that publishes this shard; NULL: nobody, free to take.
    owner       text,
    -- One more with each change of hands: what an earlier owner still wants to delete is refused.
    epoch       bigint NOT NULL DEFAULT 0,
    lease_until timestamptz
);
COMMENT ON TABLE outbox_shard IS 'Who publishes which shard, and until when unless renewed (time of the database).';
INSERT INTO outbox_shard (shard) SELECT generate_series(0, 11);

CREATE TABLE outbox_publisher (
    name        text PRIMARY KEY,
    lease_until timestamptz NOT NULL
);
COMMENT ON TABLE outbox_publisher IS 'The processes that publish; their number says how many shards each may hold.';

-- Callers ---------------------------------------------------------------------------------------

CREATE TABLE api_token (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: a token for all organizations.
    organization_id bigint REFERENCES organization,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    -- sha256 of the whole token; the token itself is nowhere. Unique: it is what a token is found by.
    token_hash      bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    -- Shown in lists, so that people can tell their tokens apart.
    last_four       text NOT NULL CHECK (length(last_four) = 4),
    scopes          text[] NOT NULL
                    CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['project:read', 'project:write', 'project:admin',
                                                                     'org:read', 'org:write', 'org:admin']),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Requests a second, of each process; NULL: no limit.
    rate_limit      integer CHECK (rate_limit > 0),
    expires_at      timestamptz,
    -- To the minute: it is written at most so often.
    last_used_at    timestamptz,
    revoked_at      timestamptz
);

CREATE TABLE idempotency (
    -- A key is its caller's own: two tokens may use the same text.
    token_id    bigint NOT NULL,
    key         text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- sha256 of method, path and body: another request under the same key is a mistake.
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    -- What was made: the row's id in the table that the path belongs to. Never the answer, which holds a secret.
    target_id   bigint NOT NULL,
    event_id    uuid,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (token_id, key)
);
COMMENT ON TABLE idempotency IS 'Idempotency-Keys that made something, for 24 hours; written in the transaction of what they made.';
-- Forgets the old ones.
CREATE INDEX idempotency_oldest_first ON idempotency (created_at);

-- Who did what, without secrets; written in the transaction of the change, and never changed or deleted by the service.
CREATE TABLE audit_entry (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: the installation's own, such as a token for all organizations.
    organization_id bigint,
    project_id      bigint,
    -- NULL: the command line.
    token_id        bigint,
    action          text NOT NULL,
    -- A public key, a slug or a token's name.
    target          text NOT NULL,
    request_id      text NOT NULL,
    remote_address  text,
    data            json NOT NULL,
    -- The change's own id, which its event has too: proves that a change whose commit nobody saw was committed.
    change_id       uuid NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Lists an organization's entries newest first, and finds a change among the newest.
CREATE INDEX audit_entry_newest_first ON audit_entry (organization_id, id);

-- Work that is done a batch at a time, by whichever replica is free -------------------------------

CREATE TABLE batch_job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- project.delete: a project's keys, then the project. dsn.change: every key of an organization gets a new version,
    -- because its DSN is another one now. replay: the state of keys, and what became of deleted ones, is sent again.
    kind            text NOT NULL CHECK (kind IN ('project.delete', 'dsn.change', 'replay')),
    -- NULL: all of them.
    organization_id bigint,
    project_id      bigint,
    -- Keys up to this row id are done; of deleted keys, which come last, those up to this public key.
    after_id        bigint NOT NULL DEFAULT 0,
    after_deleted   text,
    -- Only keys made from then on; NULL: all.
    made_since      timestamptz,
    -- Not before: a second pass waits for writes that began before the change was known to all, a rate and a failure
    -- for their time to be over. The job whose turn came first goes first, so that a long one holds up no other.
    starts_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Keys a second; NULL: as fast as it goes.
    rate            integer CHECK (rate > 0),
    done            bigint NOT NULL DEFAULT 0,
    -- How many keys there were when it was asked for; NULL where nobody watches.
    total           bigint,
    -- Batches that have failed one after another, and why the last one did.
    failures        integer NOT NULL DEFAULT 0,
    last_error      text,
    -- What the audit and the events' envelopes keep of whoever asked for it.
    token_id        bigint,
    request_id      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at     timestamptz,
    -- Ended before its end, by command; a replay alone can be: the others are halves of a change.
    cancelled       boolean NOT NULL DEFAULT false CHECK (NOT cancelled OR (kind = 'replay' AND finished_at IS NOT NULL))
);
-- Finds what is to be done next.
CREATE INDEX batch_job_unfinished ON batch_job (starts_at) WHERE finished_at IS NULL;
