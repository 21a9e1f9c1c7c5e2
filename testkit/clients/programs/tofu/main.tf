terraform {
  required_providers {
    sentry = { source = "jianyuan/sentry" }
  }
}

variable "organization" {}

variable "project" { default = "terraform" }

variable "events" { default = 100 }

provider "sentry" {}

data "sentry_organization" "this" {
  slug = var.organization
}

data "sentry_team" "only" {
  organization = data.sentry_organization.this.slug
  slug         = data.sentry_organization.this.slug
}

resource "sentry_project" "web" {
  organization = data.sentry_organization.this.slug
  teams        = [data.sentry_team.only.slug]
  name         = "Terraform"
  slug         = var.project
  platform     = "python"
  default_key  = false
}

resource "sentry_key" "backend" {
  count             = 12
  organization      = sentry_project.web.organization
  project           = sentry_project.web.slug
  name              = "Backend ${count.index}"
  rate_limit_window = 60
  rate_limit_count  = var.events
}

data "sentry_all_keys" "all" {
  organization = sentry_project.web.organization
  project      = sentry_project.web.slug
  depends_on   = [sentry_key.backend]

  lifecycle {
    postcondition {
      condition     = length(self.keys) == 12
      error_message = "The project has other keys than those of the resources."
    }
  }
}
