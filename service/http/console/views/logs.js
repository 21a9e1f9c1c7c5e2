// The audit log and the tokens of an organization.

import { html, useState } from "../vendor/preact-htm.js";
import { get, organizationPath, query } from "../api.js";
import { Code, Field, List, Select, Time, useResource } from "../ui.js";

const show = (value) => (value === null ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value));
const changes = ({ data }) => Object.entries(data).map(([name, value]) => `${name}: ${value && typeof value === "object" && "from" in value ? `${show(value.from)} → ${show(value.to)}` : show(value)}`);

export const entryColumns = [
	["Time", (row) => html`<${Time} value=${row.dateCreated} />`],
	["Event", (row) => html`<code>${row.event}</code>`],
	["Actor", (row) => `${row.actor.name}${row.requestId.startsWith("console-") ? " (console)" : ""}`],
	["Target", (row) => row.target],
	["Change", (row) => changes(row).map((line) => html`<div>${line}</div>`)],
	["Address", (row) => row.ipAddress ?? "–"],
];

export function Audit({ org }) {
	const [filter, setFilter] = useState({ event: "", target: "", actor: "", cursor: "" });
	const [loaded, setLoaded] = useState([]); // the rows of all pages that were shown, for the export
	const list = useResource(async (signal) => {
		const result = await get(`${organizationPath(org)}audit-logs/${query({ ...filter, per_page: "50" })}`, { signal });
		setLoaded((before) => [...before.filter(({ id }) => !result.data.rows.some((row) => row.id === id)), ...result.data.rows]);
		return result;
	}, [org, filter]);
	const bind = (name) => ({ value: filter[name], error: list.error?.field(name), onInput: ({ target }) => {
		setLoaded([]);
		setFilter({ ...filter, cursor: "", [name]: target.value.trim() });
	} });
	const names = list.data?.data.options ?? [];
	const empty = () => html`<p>${filter.event || filter.target || filter.actor ? "No entry matches these filters." : "No entries yet."}</p>`;
	return html`<div class="bar"><h1>Audit log</h1><button type="button" disabled=${!loaded.length} onClick=${() => download(loaded)}>Export as CSV</button></div>
		<div class="filters">
			<${Select} label="Event" options=${[["", "All"], ...names.map((name) => [name, name])]} ...${bind("event")} />
			<${Field} label="Target" hint="A public key or a slug" ...${bind("target")} />
			<${Field} label="Token id" inputmode="numeric" ...${bind("actor")} />
		</div>
		<${List} resource=${list} columns=${entryColumns} rowsOf=${(data) => data.rows} empty=${empty} what="organization" back="/console/" onPage=${(cursor) => setFilter({ ...filter, cursor })} />`;
}

function download(rows) {
	const columns = { time: (row) => row.dateCreated, event: (row) => row.event, actor: (row) => row.actor.name, "token id": (row) => row.actor.id, target: (row) => row.target, change: (row) => changes(row).join("; "), address: (row) => row.ipAddress, request: (row) => row.requestId };
	const cell = (value) => {
		const content = String(value ?? "").replaceAll('"', '""');
		return `"${/^[=+\-@\t\r]/.test(content) ? "'" : ""}${content}"`; // an apostrophe: a spreadsheet must not compute the cell
	};
	const lines = [Object.keys(columns), ...rows.map((row) => Object.values(columns).map((read) => read(row)))];
	const link = document.createElement("a");
	link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(cell).join(",")).join("\r\n")], { type: "text/csv" }));
	link.download = "audit.csv";
	link.click();
	URL.revokeObjectURL(link.href);
}

function state(token) {
	if (token.dateRevoked) return "Revoked";
	return token.expiresAt && new Date(token.expiresAt) <= new Date() ? "Expired" : "Valid";
}

const tokenColumns = [
	["Name", (token) => token.name],
	["Id", (token) => token.id],
	["Ends with", (token) => html`<code>${token.tokenLastCharacters}</code>`],
	["Scopes", (token) => token.scopes.join(", ")],
	["Status", (token) => html`<span class=${`badge ${state(token) === "Valid" ? "active" : "inactive"}`}>${state(token)}</span>`],
	["Created", (token) => html`<${Time} value=${token.dateCreated} />`],
	["Expires", (token) => html`<${Time} value=${token.expiresAt} none="Never" />`],
	["Last used", (token) => html`<${Time} value=${token.dateLastUsed} none="Never" />`],
];

export function Tokens({ org }) {
	const [cursor, setCursor] = useState("");
	const list = useResource((signal) => get(`${organizationPath(org)}tokens/${query({ cursor, per_page: "50" })}`, { signal }), [org, cursor]);
	return html`<h1>Tokens</h1>
		<p>The tokens of this organization. The service itself cannot create or revoke tokens; the command line does:</p>
		<${Code} label="commands" text=${`projectkeys token create NAME --org ${org} --scope project:write\nprojectkeys token revoke ID`} />
		<${List} resource=${list} columns=${tokenColumns} empty=${() => html`<p>No token is limited to this organization.</p>`} what="organization" back="/console/" onPage=${setCursor} />`;
}
