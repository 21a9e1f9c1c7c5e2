-- The rights of the service's role. `projectkeys migrate --grant-to ROLE` runs this file after the migrations, as the
-- tables' owner. It revokes first what earlier versions granted. To run it with psql:
--
--     psql -v role=projectkeys_service -v schema=public -f grants.sql
--
-- The role must exist (CREATE ROLE projectkeys_service LOGIN PASSWORD '…') and must be neither the owner nor a member of
-- the owner. It cannot create, alter, drop or truncate a table, nor grant rights. Inserts into tables with an identity
-- column need no right on the sequence.

GRANT USAGE ON SCHEMA :"schema" TO :"role";

REVOKE ALL ON schema_version, schema_migration, organization, project, project_slug_redirect, project_key, deleted_key,
    outbox, outbox_shard, outbox_publisher, key_usage, key_last_seen, usage_offset, usage_reader, api_token, console_session,
    idempotency, audit_entry, batch_job FROM :"role";

-- Readiness: whether the schema is one that this program can work with.
GRANT SELECT ON schema_version, schema_migration TO :"role";

-- Organizations are never deleted.
GRANT SELECT, INSERT, UPDATE ON organization TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON project, project_slug_redirect, project_key, deleted_key TO :"role";

GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, outbox_publisher TO :"role";
-- Which row numbers were assigned before a process took a shard.
GRANT SELECT ON SEQUENCE outbox_seq_seq TO :"role";
-- The shards are the topic's partitions, whose number is fixed.
GRANT SELECT, UPDATE ON outbox_shard TO :"role";

GRANT SELECT, INSERT, UPDATE, DELETE ON key_usage TO :"role";
-- A row is deleted with its key; a topic's partitions are never forgotten.
GRANT SELECT, INSERT, UPDATE ON key_last_seen, usage_offset TO :"role";
GRANT SELECT, UPDATE ON usage_reader TO :"role";

-- The owner creates and revokes tokens: an attacker who controls a server cannot create a token that stays valid.
GRANT SELECT, UPDATE (last_used_at) ON api_token TO :"role";
-- The service sets neither created_at nor the token of a session later: a session of any token ends after 8 hours.
GRANT SELECT, INSERT (id_hash, token_id, expires_at), UPDATE (last_used_at), DELETE ON console_session TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO :"role";

-- Entries of the audit log are never changed.
GRANT SELECT, INSERT ON audit_entry TO :"role";

-- Finished jobs are kept for operators.
GRANT SELECT, INSERT, UPDATE ON batch_job TO :"role";
