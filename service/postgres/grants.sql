-- What the service may do, and nothing more. `projectkeys migrate --grant-to ROLE` runs this after the schema, as the
-- tables' owner; it takes back first what earlier versions gave. By hand:
--
--     psql -v role=projectkeys_service -v schema=public -f grants.sql
--
-- The role must be there (CREATE ROLE projectkeys_service LOGIN PASSWORD '…'), and must not be the owner, nor a member
-- of the owner. It cannot create, alter, drop or empty a table, nor give rights to anybody. Identity columns need no
-- right to draw from their sequences.

GRANT USAGE ON SCHEMA :"schema" TO :"role";

REVOKE ALL ON schema_version, organization, project, project_slug_redirect, project_key, deleted_key, outbox,
    outbox_shard, outbox_publisher, api_token, idempotency, audit_entry, batch_job FROM :"role";

-- Is the schema the one that this program needs?
GRANT SELECT ON schema_version TO :"role";

-- Organizations are never deleted.
GRANT SELECT, INSERT, UPDATE ON organization TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON project, project_slug_redirect, project_key, deleted_key TO :"role";

GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, outbox_publisher TO :"role";
-- Which row numbers were drawn before a shard was taken over.
GRANT SELECT ON SEQUENCE outbox_seq_seq TO :"role";
-- The shards are the topic's partitions: there are never more, never fewer.
GRANT SELECT, UPDATE ON outbox_shard TO :"role";

-- Tokens are made and revoked by the owner: who takes over a server cannot give itself one that outlives that.
GRANT SELECT, UPDATE (last_used_at) ON api_token TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO :"role";

-- What is written there stays as it was written.
GRANT SELECT, INSERT ON audit_entry TO :"role";

-- Finished work stays, for people to look at.
GRANT SELECT, INSERT, UPDATE ON batch_job TO :"role";
