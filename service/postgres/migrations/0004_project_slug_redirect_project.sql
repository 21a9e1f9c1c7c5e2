-- migrate: no transaction
-- Without this index, the deletion of a project reads the redirects of all projects.

CREATE INDEX CONCURRENTLY IF NOT EXISTS project_slug_redirect_project ON project_slug_redirect (project_id);
