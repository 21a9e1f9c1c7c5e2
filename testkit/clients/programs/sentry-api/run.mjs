// Manages projects and keys with the client that is generated from Sentry's API schema.
import assert from "node:assert/strict";
import * as sentry from "@sentry/api";

const { API_URL, TOKEN, ORG, PROJECT } = process.env;
const organization_id_or_slug = ORG;

// Calls a function of the client; ends the program unless the response is a success and as expected.
async function call(operation, request, options, isExpected = () => true) {
  const { data, error, response } = await request({
    baseUrl: API_URL,
    headers: { Authorization: `Bearer ${TOKEN}` },
    ...options,
  });
  assert(error === undefined && isExpected(data), `${operation}: ${response?.status} ${JSON.stringify(error ?? data)}`);
  console.log(operation);
  return data;
}

const organization = { path: { organization_id_or_slug } };
await call("list organizations", sentry.listYourOrganizations, {}, (found) => found[0].slug === ORG);
await call("read organization", sentry.retrieveAnOrganization, organization, (found) => found.slug === ORG);
await call("list teams", sentry.listAnOrganization_sTeams, organization, (found) => found.length === 1);
const team = { path: { organization_id_or_slug, team_id_or_slug: ORG } };
await call("read team", sentry.retrieveATeam, team, (found) => found.slug === ORG);
await call("list projects of the organization", sentry.listAnOrganization_sProjects, organization, (found) => found[0].slug === PROJECT);
const created = await call("create project", sentry.createANewProject, {
  ...team,
  body: { name: "Generated", slug: "generated", platform: "node" },
});
const project = { path: { organization_id_or_slug, project_id_or_slug: created.slug } };
await call("read project", sentry.retrieveAProject, project, (found) => found.platform === "node");
await call("update project", sentry.updateAProject, { ...project, body: { name: "Changed" } }, (found) => found.name === "Changed");
await call("list teams of the project", sentry.listAProject_sTeams, project, (found) => found[0].slug === ORG);
const rateLimit = { count: 100, window: 60 };
const key = await call("create key", sentry.createANewClientKey, { ...project, body: { name: "Second", rateLimit } });
const one = { path: { ...project.path, key_id: key.id } };
await call("read key", sentry.retrieveAClientKey, one, (found) => found.rateLimit.count === 100);
await call("disable key", sentry.updateAClientKey, { ...one, body: { isActive: false } }, (found) => !found.isActive);
const active = { ...project, query: { status: "active" } };
await call("list active keys", sentry.listAProject_sClientKeys, active, (found) => found.length === 1);
await call("list keys of the organization", sentry.listAnOrganization_sClientKeys, organization, (found) => found.length === 3);
await call("delete key", sentry.deleteAClientKey, one);
await call("delete project", sentry.deleteAProject, project);
