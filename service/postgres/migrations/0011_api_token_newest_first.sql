-- migrate: no transaction
-- Without this index, the list of an organization's tokens reads the tokens of all organizations.

CREATE INDEX CONCURRENTLY IF NOT EXISTS api_token_newest_first ON api_token (organization_id, id);
