// Runs the actions of Backstage's scaffolder module as a template does.
const assert = require("node:assert/strict");
const { ConfigReader } = require("@backstage/config");
const sentry = require("@backstage/plugin-scaffolder-backend-module-sentry");

const { API_URL, TOKEN, ORG } = process.env;
const config = new ConfigReader({ scaffolder: { sentry: { token: TOKEN, apiBaseUrl: `${API_URL}/api/0` } } });

// Executes an action; returns its outputs.
async function execute(create, input) {
  const outputs = {};
  const context = {
    input,
    output: (name, value) => (outputs[name] = value),
    checkpoint: ({ fn }) => fn(),
  };
  await create({ config }).handler(context);
  return outputs;
}

async function main() {
  const project = { organizationSlug: ORG, projectSlug: "scaffolded" };
  const created = await execute(sentry.createSentryCreateProjectAction, {
    organizationSlug: ORG,
    teamSlug: ORG,
    name: "Scaffolded",
    slug: project.projectSlug,
    platform: "node",
  });
  assert.match(created.id, /^[0-9]+$/);
  console.log("sentry:project:create");
  const { dsn } = await execute(sentry.createSentryFetchDSNAction, project);
  assert.match(dsn, new RegExp(`@.*/${created.id}$`));
  console.log("sentry:fetch:dsn");
}

main();
