// Calls the tools of Sentry's MCP server over stdio, as an agent does.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const { API_URL, TOKEN, ORG, PROJECT } = process.env;
const server = new StdioClientTransport({
  command: "node_modules/.bin/sentry-mcp",
  args: [`--access-token=${TOKEN}`, `--host=${new URL(API_URL).host}`, "--insecure-http", "--all-skills"],
  stderr: "inherit",
  env: { ...process.env, SENTRY_DSN: "" },
});
const client = new Client({ name: "clients", version: "1" });
await client.connect(server);

const listed = new Set((await client.listTools()).tools.map((tool) => tool.name));

// Calls a tool, directly or through the tool that executes those that are not listed; ends the program unless its text matches.
async function call(operation, name, parameters, expected) {
  const request = listed.has(name)
    ? { name, arguments: parameters }
    : { name: "execute_sentry_tool", arguments: { name, arguments: parameters } };
  const result = await client.callTool(request);
  const text = result.content.map((part) => part.text).join("\n");
  if (result.isError || !expected.test(text)) {
    console.error(`${name} ${JSON.stringify(parameters)}:\n${text}`);
    process.exit(1);
  }
  console.log(operation);
  return text;
}

const inOrganization = { organizationSlug: ORG };
const dsn = /https?:\/\/[0-9a-f]{32}@[^\s/]+\/[0-9]+/;
await call("find organizations", "find_organizations", {}, new RegExp(ORG));
await call("find teams", "find_teams", inOrganization, new RegExp(ORG));
await call("find projects", "find_projects", inOrganization, new RegExp(PROJECT));
const created = { ...inOrganization, teamSlug: ORG, name: "Agent", slug: "agent", platform: "node" };
await call("create project", "create_project", created, dsn);
const project = { ...inOrganization, projectSlug: "agent" };
const second = await call("create DSN", "create_dsn", { ...project, name: "Second" }, dsn);
await call("find DSNs", "find_dsns", project, /Default[^]*Second|Second[^]*Default/);
const change = { keyId: second.match(/[0-9a-f]{32}/)[0], isActive: false, rateLimitWindow: 60, rateLimitCount: 100 };
await call("disable and limit DSN", "update_dsn", { ...project, ...change }, /100/);
await client.close();
