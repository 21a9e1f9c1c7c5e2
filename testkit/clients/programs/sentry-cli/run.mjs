// Manages projects with Sentry's command line, in an empty home directory.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const { API_URL, TOKEN, ORG, PROJECT } = process.env;
const home = mkdtempSync(join(tmpdir(), "sentry-cli-"));
process.on("exit", () => rmSync(home, { recursive: true }));
const environment = { PATH: process.env.PATH, HOME: home, SENTRY_URL: API_URL, SENTRY_CLI_NO_TELEMETRY: "1" };

// Runs a command; ends the program unless it succeeds and its output is as expected.
function run(operation, words, isExpected = () => true) {
  const output = execFileSync(process.execPath, [resolve("node_modules/sentry/dist/bin.cjs"), ...words, "--json"], {
    cwd: home,
    env: environment,
    encoding: "utf8",
  });
  const value = JSON.parse(output);
  assert(isExpected(value), `${operation}: ${output}`);
  console.log(operation);
}

run("log in with a token", ["auth", "login", "--token", TOKEN, "--url", API_URL]);
run("list organizations", ["org", "list"], ([found]) => found.slug === ORG);
run("list teams of a project", ["team", "list", `${ORG}/${PROJECT}`], ([found]) => found.slug === ORG);
run("create project", ["project", "create", `${ORG}/shop:python`], ({ dsn }) => /^http.*@/.test(dsn));
run("list projects", ["project", "list", `${ORG}/`], ({ data }) => data.length === 2);
run("view project", ["project", "view", `${ORG}/shop`], ([found]) => found.platform === "python" && found.dsn);
run("list DSNs", ["dsn", "list", `${ORG}/shop`], ({ data }) => data[0].name === "Default");
run("delete project", ["project", "delete", `${ORG}/shop`, "--yes"], ({ deleted }) => deleted);
