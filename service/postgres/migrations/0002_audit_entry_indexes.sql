-- migrate: no transaction
-- Without these indexes a search of the audit log by target, actor or event reads every entry of the organization.

CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_entry_target ON audit_entry (target, organization_id, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_entry_token ON audit_entry (token_id, organization_id, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_entry_action ON audit_entry (action, organization_id, id);
