-- The descriptions of the tables in the terms of the glossary.

COMMENT ON TABLE schema_version IS 'The greatest version is the current one; a program is not ready on a greater one than its own.';
COMMENT ON TABLE project_slug_redirect IS 'Former slugs of projects; a project that has the slug now takes precedence.';
COMMENT ON TABLE deleted_key IS 'Deleted keys; a replay publishes their tombstones again.';
COMMENT ON TABLE outbox_shard IS 'Leases of the shards, by the clock of the database.';
COMMENT ON TABLE outbox_publisher IS 'The processes that publish; each owns at most its equal share of the shards.';
COMMENT ON TABLE idempotency IS 'Idempotency keys of the last 24 hours, inserted in the transaction of what they created.';
