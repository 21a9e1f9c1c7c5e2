-- Terraform's provider sets the platform of a project and expects to read it again.

ALTER TABLE project ADD COLUMN IF NOT EXISTS platform text;
