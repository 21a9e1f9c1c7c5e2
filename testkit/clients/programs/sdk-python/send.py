"""Sends an event to the DSN in the environment."""

import os

import sentry_sdk

sentry_sdk.init(os.environ["DSN"], default_integrations=False, auto_enabling_integrations=False)
sentry_sdk.capture_message("an event")
sentry_sdk.flush(timeout=10)
