// Sends an event to the DSN in the environment.
import http from "node:http";
import * as Sentry from "@sentry/node";

// Without TLS, the SDK asks a proxy for a tunnel; the ingest service is a proxy for requests only.
function request(options, callback) {
  const { protocol, hostname, port, path } = options;
  const url = `${protocol}//${hostname}${port ? `:${port}` : ""}${path}`;
  const proxy = { hostname: "127.0.0.1", port: process.env.PROXY_PORT, path: url, agent: undefined };
  const host = url.split("/")[2];
  return http.request({ ...options, ...proxy, headers: { ...options.headers, host } }, callback);
}

Sentry.init({ dsn: process.env.DSN, defaultIntegrations: false, transportOptions: { httpModule: { request } } });
Sentry.captureMessage("an event");
await Sentry.flush(10000);
