// The keys of a project.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { get, organizationPath, permits, query, segment } from "../api.js";
import { change, Code, CopyField, Dialog, Field, Form, Link, List, navigate, Time, useForm, useResource, useShortcut } from "../ui.js";
import { Feed, useEvents } from "../events.js";
import { Delete, Expiry, limitFrom, RateLimit, Rotate, Status, Toggle } from "./changes.js";

const FILTERS = [["", "All"], ["active", "Active"], ["inactive", "Disabled"]];
const DEBOUNCE = 200; // milliseconds
const KEPT_EVENTS = 500;
const MOST_ROWS = 100; // with new keys above the 50 of a page

export const keysPath = (org, project) => `/api/0/projects/${segment(org)}/${segment(project)}/keys/`;
const rowElements = () => [...document.querySelectorAll("[data-row]")];
const currentRow = () => document.activeElement.closest("[data-row]");
const focusRow = (row) => row?.querySelector("a").focus();

function moveRow(step) {
	const rows = rowElements();
	const index = rows.indexOf(currentRow());
	focusRow(index < 0 ? rows[0] : rows[index + step]);
}

// Returns the rows of a list after an event. `takesNew`: whether the list begins with the newest key.
function rowsAfter(rows, { type, key }, takesNew) {
	const { name, isActive, rateLimit, expiresAt } = key;
	if (type === "deleted") return rows.filter(({ id }) => id !== key.id);
	if (rows.some(({ id }) => id === key.id)) return rows.map((row) => (row.id === key.id ? { ...row, name, isActive, rateLimit, expiresAt } : row));
	return takesNew && type === "created" ? [key, ...rows] : rows;
}

export function Keys({ session, org, project }) {
	const path = keysPath(org, project);
	const base = `/console/o/${org}/p/${project}`;
	// The state of the list is in the address, so that the page can be loaded again.
	const [address, setAddress] = useState(() => Object.fromEntries(new URLSearchParams(location.search)));
	const { q = "", status = "", cursor = "" } = address;
	const [typed, setTyped] = useState(q);
	const [dialog, setDialog] = useState({}); // {kind, key}
	const [events, setEvents] = useState([]);
	const search = useRef();
	const mayWrite = permits(session, "project:write");
	const list = useResource((signal) => get(path + query({ per_page: "50", query: q, status, cursor }), { signal }), [path, q, status, cursor]);

	const go = (values) => {
		const next = { ...address, cursor: "", ...values };
		history.replaceState(null, "", location.pathname + query(next));
		setAddress(next);
	};
	useEffect(() => {
		const timer = setTimeout(() => typed !== q && go({ q: typed }), DEBOUNCE);
		return () => clearTimeout(timer);
	}, [typed]);
	const state = useEvents(org, project, (event) => {
		setEvents((before) => [event, ...before].slice(0, KEPT_EVENTS));
		if (list.data?.data.length >= MOST_ROWS) list.reload();
		else list.update((page) => ({ ...page, data: rowsAfter(page.data, event, !q && !status && !cursor) }));
	}, list.reload);
	useShortcut("/", () => search.current.focus());
	useShortcut("n", () => mayWrite && setDialog({ kind: New }));
	useShortcut("j", () => moveRow(1));
	useShortcut("k", () => moveRow(-1));
	useShortcut("c", () => currentRow()?.querySelector(".copy").click());
	useShortcut("e", () => currentRow()?.querySelector(".toggle")?.click());

	const clear = () => {
		setTyped("");
		go({ q: "", status: "" });
	};
	const empty = ({ next }) => {
		const button = (text, action) => html`<button type="button" onClick=${action}>${text}</button>`;
		if (next) return html`<p>No match among the newest keys that were read.</p>${button("Search older keys", () => go({ cursor: next }))}`;
		if (q) return html`<p>No key matches “${q}”.</p>${button("Clear", clear)}`;
		if (status) return html`<p>No key is ${status === "active" ? "active" : "disabled"}.</p>${button("Show all", clear)}`;
		return html`<p>No keys yet. Create one here or by the API:</p><${Code} label="command" text=${`curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d '{"name": "Web"}' $API_URL${path}`} />`;
	};
	const action = (kind, text, key, kindName) => html`<button type="button" class=${`small ${kindName}`} aria-label=${`${text} ${key.name}`} onClick=${() => setDialog({ kind, key })}>${text}</button>`;
	const hasExpiry = list.data?.data.some((key) => key.expiresAt);
	const columns = [
		["Name", (key) => html`<${Link} href=${`${base}/k/${key.id}`}>${key.name}<//>`],
		["DSN", (key) => html`<${CopyField} text=${key.dsn.public} label=${`DSN of ${key.name}`} />`],
		["Status", (key) => html`<${Status} isActive=${key.isActive} />`],
		["Rate limit", ({ rateLimit }) => (rateLimit ? `${rateLimit.count} in ${rateLimit.window}\u00a0s` : "None")],
		hasExpiry && ["Expires", (key) => html`<${Time} value=${key.expiresAt} none="Never" />`],
		["Created", (key) => html`<${Time} value=${key.dateCreated} />`],
		mayWrite && ["", (key) => html`<span class="actions">
			${action(Toggle, key.isActive ? "Disable" : "Enable", key, "toggle")}
			${key.isActive && action(Rotate, "Rotate", key)}
			${permits(session, "project:admin") && action(Delete, "Delete", key)}
		</span>`],
	];
	const finish = (kind, key) => {
		if (kind === Rotate || kind === New) return navigate(`${base}/k/${key.id}`);
		if (kind === Delete) {
			const rows = rowElements();
			const index = rows.findIndex((row) => row.dataset.row === dialog.key.id);
			const next = rows[index + 1] ?? rows[index - 1];
			setTimeout(() => (next ? focusRow(next) : search.current.focus())); // after the dialog has given the focus back
		}
		list.reload();
	};
	return html`<div class="bar">
			<h1>Keys</h1>
			<${Switcher} session=${session} org=${org} project=${project} />
			${mayWrite && html`<button type="button" class="primary" onClick=${() => setDialog({ kind: New })}>New key</button>`}
		</div>
		<div class="columns">
			<section aria-label="Keys">
				<div class="filters">
					<input type="search" ref=${search} aria-label="Search keys" placeholder="Search by name or public key" maxlength="64" value=${typed} onInput=${(event) => setTyped(event.target.value)} />
					<div role="group" aria-label="Status" class="chips">${FILTERS.map(([value, text]) => html`<button type="button" aria-pressed=${status === value ? "true" : "false"} onClick=${() => go({ status: value })}>${text}</button>`)}</div>
				</div>
				<${List} resource=${list} columns=${columns} empty=${empty} what="project" back=${`/console/o/${org}`} onPage=${(next) => go({ cursor: next })} />
			</section>
			<${Feed} state=${state} events=${events} base=${base} />
		</div>
		${dialog.kind && html`<${dialog.kind} path=${path} item=${dialog.key} onClose=${() => setDialog({})} onDone=${(key) => finish(dialog.kind, key)} />`}`;
}

function Switcher({ session, org, project }) {
	const list = useResource((signal) => (permits(session, "org:read") ? get(`${organizationPath(org)}projects/`, { signal }) : Promise.resolve({ data: [] })), [org]);
	const projects = list.data?.data ?? [];
	const current = projects.find(({ slug, id }) => slug === project || id === project);
	if (!current) return html`<span class="muted">${project}</span>`;
	return html`<select aria-label="Project" value=${current.slug} onChange=${(event) => navigate(`/console/o/${org}/p/${event.target.value}`)}>${projects.map(({ slug, name }) => html`<option value=${slug}>${name}</option>`)}</select>`;
}

function New({ path, onClose, onDone }) {
	const [id] = useState(() => crypto.randomUUID()); // one for the dialog: a repeated request creates no second key
	const form = useForm({ name: "", rateLimit: null, expiresAt: null }, async ({ name, rateLimit, expiresAt }) => {
		const body = { ...(name.trim() && { name: name.trim() }), ...(rateLimit && { rateLimit: limitFrom(rateLimit) }), ...(expiresAt && { expiresAt }) };
		onDone(await change("POST", path, "Key created", { body, id }));
	});
	return html`<${Dialog} title="New key" onClose=${onClose}><${Form} form=${form} text="Create" onClose=${onClose}>
		<${Field} label="Name" hint="If it is empty, the service chooses one." ...${form.bind("name")} />
		<${RateLimit} form=${form} /><${Expiry} form=${form} />
	<//><//>`;
}
