// Sends an event to the DSN in the environment.
import * as Sentry from "@sentry/node";

Sentry.init({ dsn: process.env.DSN, defaultIntegrations: false });
Sentry.captureMessage("an event");
await Sentry.flush(10000);
