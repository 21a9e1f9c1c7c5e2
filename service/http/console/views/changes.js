// Changes of a key that both the list and the page of the key offer, and fields of its settings.

import { html, useState } from "../vendor/preact-htm.js";
import { change, Confirm, Dialog, Field, Form, Select, useForm } from "../ui.js";

export const Status = ({ isActive }) => html`<span class=${`badge ${isActive ? "active" : "inactive"}`}>${isActive ? "Active" : "Disabled"}</span>`;

export function Toggle({ path, item, onClose, onDone }) {
	const [verb, consequence] = item.isActive ? ["Disable", "Clients that use this DSN are rejected until you enable the key again."] : ["Enable", "Clients that use this DSN are accepted again."];
	const work = async () => {
		await change("PUT", `${path}${item.id}/`, "Saved", { body: { isActive: !item.isActive } });
		onClose();
		onDone();
	};
	return html`<${Confirm} title=${`${verb} “${item.name}”?`} consequence=${consequence} text=${verb} work=${work} onClose=${onClose} />`;
}

export function Delete({ path, item, onClose, onDone }) {
	const work = async () => {
		await change("DELETE", `${path}${item.id}/`, "Deleted");
		onClose();
		onDone();
	};
	return html`<${Confirm} title="Delete this key?" consequence="Clients that use this DSN are rejected. This cannot be undone." word=${item.name} text="Delete" work=${work} onClose=${onClose} />`;
}

const OVERLAPS = [["0", "No time: disable the old key now"], ["3600", "1 hour"], ["86400", "24 hours"], ["604800", "7 days"], ["2592000", "30 days"]];

export function Rotate({ path, item, onClose, onDone }) {
	const [id] = useState(() => crypto.randomUUID());
	const [isWarned, setWarned] = useState(false);
	const form = useForm({ overlap: "86400" }, async ({ overlap }) => {
		if (overlap === "0" && !isWarned) return setWarned(true);
		const key = await change("POST", `${path}${item.id}/rotate/`, "Rotated", { body: { overlap: Number(overlap) }, id });
		onClose();
		onDone(key);
	});
	return html`<${Dialog} title=${`Rotate “${item.name}”`} onClose=${onClose}><${Form} form=${form} text="Rotate" danger=${form.values.overlap === "0"} what="key" onClose=${onClose}>
		<p>Creates a key with the same settings. Give its DSN to your clients while both keys are accepted.</p>
		<${Select} label="Both keys are accepted for" options=${OVERLAPS} ...${form.bind("overlap")} />
		${isWarned && form.values.overlap === "0" && html`<p class="banner" role="alert">Clients with the old DSN are rejected at once. Press Rotate again to confirm.</p>`}
	<//><//>`;
}

const WINDOWS = [["0", "No limit"], ["60", "1 minute"], ["300", "5 minutes"], ["900", "15 minutes"], ["3600", "1 hour"], ["7200", "2 hours"], ["14400", "4 hours"], ["21600", "6 hours"], ["43200", "12 hours"], ["86400", "1 day"]];
export const limitFrom = (value) => value && { window: Number(value.window), count: Number(value.count) };

export function RateLimit({ form, disabled }) {
	const { error } = form.bind("rateLimit");
	const value = form.values.rateLimit;
	const window = String(value?.window ?? 0);
	const options = WINDOWS.some(([seconds]) => seconds === window) ? WINDOWS : [...WINDOWS, [window, `${window} seconds`]];
	const set = (changes) => form.set({ rateLimit: { count: "1000", window, ...value, ...changes } });
	return html`<fieldset disabled=${disabled}><legend>Rate limit</legend>
		<${Select} label="Window" options=${options} value=${window} onInput=${({ target }) => (target.value === "0" ? form.set({ rateLimit: null }) : set({ window: target.value }))} />
		<${Field} label="Events in each window" type="number" min="1" max="2147483647" required=${Boolean(value)} disabled=${!value} error=${error} value=${value?.count ?? ""} onInput=${({ target }) => set({ count: target.value })} />
	</fieldset>`;
}

const TIMES = [["", "Never"], ["1", "In 1 day"], ["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["custom", "At another time"]];

export function Expiry({ form, disabled }) {
	const { value, error } = form.bind("expiresAt");
	const [kind, setKind] = useState(value ? "custom" : "");
	const set = (expiresAt) => form.set({ expiresAt });
	const choose = ({ target }) => {
		setKind(target.value);
		if (target.value !== "custom") set(target.value ? new Date(Date.now() + Number(target.value) * 86400000).toISOString() : null);
	};
	return html`<fieldset disabled=${disabled}><legend>Expiry</legend>
		<${Select} label="The key expires" options=${TIMES} value=${kind} error=${error} onInput=${choose} />
		${kind && html`<${Field} label="Time (UTC)" type="datetime-local" required disabled=${kind !== "custom"} value=${value?.slice(0, 16)} onInput=${({ target }) => target.value && set(`${target.value}:00Z`)} />`}
	</fieldset>`;
}
