// One key.

import { html, useState } from "../vendor/preact-htm.js";
import { get, organizationPath, permits, query } from "../api.js";
import { change, Checkbox, CopyField, Field, Form, Link, List, Loaded, navigate, Select, Time, toast, useForm, useResource } from "../ui.js";
import { useEvents } from "../events.js";
import { Delete, Expiry, limitFrom, RateLimit, Rotate, Status, Toggle } from "./changes.js";
import { keysPath } from "./keys.js";
import { entryColumns } from "./logs.js";
import { Snippets } from "./snippets.js";
import { Usage } from "./usage.js";

const OPTIONS = { hasPerformance: "Tracing", hasReplay: "Session Replay", hasDebug: "Debug bundles and logging", hasFeedback: "User feedback", hasLogsAndMetrics: "Logs and metrics" };
const ENDPOINTS = { security: "Security headers (CSP)", minidump: "Minidump", unreal: "Unreal Engine", nel: "Network Error Logging", crons: "Crons", cdn: "Browser loader", playstation: "PlayStation", integration: "Integrations", otlp_traces: "OTLP traces", otlp_logs: "OTLP logs" };
const MEMBERS = ["name", "isActive", "rateLimit", "browserSdkVersion", "dynamicSdkLoaderOptions", "expiresAt"];
const SECTIONS = ["DSN", "Snippets", "Settings", "Usage", "History", "Danger zone"];

const text = (value) => JSON.stringify(value && typeof value === "object" ? Object.entries(value).sort() : (value ?? null));
const changed = (before, after) => MEMBERS.filter((name) => text(before[name]) !== text(after[name]));
const anchor = (title) => title.toLowerCase().replace(" ", "-");
const Section = ({ title, children }) => html`<section id=${anchor(title)} class="card"><h2>${title}</h2>${children}</section>`;
const Value = ({ label, value }) => html`<div class="field"><span>${label}</span><${CopyField} text=${value} label=${label} /></div>`;

export function Key({ session, org, project, publicKey }) {
	const path = keysPath(org, project);
	const back = `/console/o/${org}/p/${project}`;
	const [dialog, setDialog] = useState(null);
	const [latest, setLatest] = useState(); // the last event of the key
	const resource = useResource((signal) => get(`${path}${publicKey}/`, { signal }).then(({ data }) => data), [path, publicKey]);
	const mayWrite = permits(session, "project:write");
	const { reload } = resource;
	useEvents(org, project, (event) => event.key.id === publicKey && setLatest(event), () => setLatest());
	const finish = (kind, next) => (kind === Toggle ? reload() : navigate(kind === Rotate ? `${back}/k/${next.id}` : back));
	const button = (kind, label, kindName) => html`<button type="button" class=${kindName} onClick=${() => setDialog(() => kind)}>${label}</button>`;
	return html`<p><${Link} href=${back}>← Keys<//></p>
		${!resource.data && html`<h1>Key</h1>`}
		<${Loaded} resource=${resource} what="key" back=${back} rows=${8}>${(key) => html`
				<div role="status">${latest && (latest.type === "deleted" || changed(key, latest.key).length > 0) && html`<p class="banner late">This key was ${latest.type === "deleted" ? "deleted" : "changed"} just now. <button type="button" onClick=${reload}>Reload</button></p>`}</div>
				<div class="bar"><h1>${key.name}</h1><${Status} isActive=${key.isActive} /></div>
				<nav class="sections" aria-label="Sections">${SECTIONS.map((title) => html`<a href=${`#${anchor(title)}`}>${title}</a>`)}</nav>
				<${Section} title="DSN">
					<${CopyField} text=${key.dsn.public} label="DSN" />
					<details><summary>Show deprecated DSN and secret key</summary>
						<${Value} label="Deprecated DSN" value=${key.dsn.secret} /><${Value} label="Public key" value=${key.public} /><${Value} label="Secret key" value=${key.secret} />
					</details>
					<details><summary>Other endpoints</summary>${Object.entries(ENDPOINTS).map(([name, label]) => html`<${Value} label=${label} value=${key.dsn[name]} />`)}</details>
				<//>
				<${Section} title="Snippets"><${Snippets} dsn=${key.dsn.public} loader=${key.dsn.cdn} /><//>
				<${Section} title="Settings"><${Settings} key=${JSON.stringify(key)} item=${key} path=${path} mayWrite=${mayWrite} onSaved=${reload} /><//>
				<${Section} title="Usage"><${Usage} isCounted=${session.usage} path=${`${path}${key.id}/stats/`} /><//>
				<${Section} title="History"><${History} session=${session} org=${org} item=${key} /><//>
				<${Section} title="Danger zone"><div class="actions">
					${mayWrite ? button(Toggle, key.isActive ? "Disable" : "Enable") : html`<p class="muted">This token can only read: changes need project:write.</p>`}
					${mayWrite && key.isActive && button(Rotate, "Rotate")}
					${permits(session, "project:admin") && button(Delete, "Delete", "danger")}
				</div><//>
				${dialog && html`<${dialog} path=${path} item=${key} onClose=${() => setDialog(null)} onDone=${(next) => finish(dialog, next)} />`}`}<//>`;
}

function Settings({ item, path, mayWrite, onSaved }) {
	const form = useForm(item, async (values) => {
		const next = { ...values, rateLimit: limitFrom(values.rateLimit) };
		const names = changed(item, next);
		if (!names.length) return toast("Nothing changed.");
		await change("PUT", `${path}${item.id}/`, "Saved", { body: Object.fromEntries(names.map((name) => [name, next[name]])) });
		onSaved();
	});
	const options = form.values.dynamicSdkLoaderOptions;
	const versions = [...new Set([item.browserSdkVersion, ...item.browserSdk.choices.map(([version]) => version)])];
	const disabled = !mayWrite;
	return html`<${Form} form=${form} text=${mayWrite && "Save"} what="key">
		<${Field} label="Name" required disabled=${disabled} ...${form.bind("name")} />
		<${RateLimit} form=${form} disabled=${disabled} />
		<${Expiry} form=${form} disabled=${disabled} />
		<fieldset disabled=${disabled}><legend>Browser loader</legend>
			<${Select} label="SDK version" options=${versions.map((version) => [version, version])} ...${form.bind("browserSdkVersion")} />
			${Object.entries(OPTIONS).map(([name, label]) => html`<${Checkbox} label=${label} checked=${options[name]} onChange=${({ target }) => form.set({ dynamicSdkLoaderOptions: { ...options, [name]: target.checked } })} />`)}
		</fieldset>
		<p class="hint">Created <${Time} value=${item.dateCreated} /></p>
	<//>`;
}

function History({ session, org, item }) {
	const isPermitted = permits(session, "org:write");
	const [cursor, setCursor] = useState("");
	const list = useResource((signal) => (isPermitted ? get(`${organizationPath(org)}audit-logs/${query({ target: item.id, cursor })}`, { signal }) : Promise.resolve()), [org, cursor, text(item)]);
	if (!isPermitted) return html`<p class="muted">Reading the audit log needs org:write or org:admin.</p>`;
	return html`<${List} resource=${list} columns=${entryColumns.filter(([head]) => head !== "Target")} rowsOf=${(data) => data.rows} empty=${() => html`<p>No entries.</p>`} onPage=${setCursor} />`;
}
