// Parts that several views use.

import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { prefix, request } from "./api.js";

// Navigation: addresses are written without the prefix ------------------------------------------

export function navigate(path, replace) {
	history[replace ? "replaceState" : "pushState"](null, "", prefix + path);
	dispatchEvent(new Event("navigate"));
}

export function Link({ href, children, ...rest }) {
	const follow = (event) => {
		if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
		event.preventDefault();
		navigate(href);
	};
	return html`<a href=${prefix + href} onClick=${follow} ...${rest}>${children}</a>`;
}

// Requests ---------------------------------------------------------------------------------------

export const toast = (text) => dispatchEvent(new CustomEvent("toast", { detail: text }));

// Loads a value again when `deps` change; after a temporary error it keeps the last value and tries again by itself.
export function useResource(load, deps) {
	const [state, setState] = useState({ loading: true });
	const [attempt, setAttempt] = useState(0);
	const failures = useRef(0);
	const changes = useRef(); // while a value is loaded: it may have been read before them
	const reload = useCallback(() => setAttempt((count) => count + 1), []);
	useEffect(() => {
		const controller = new AbortController();
		let timer;
		changes.current = [];
		setState((before) => ({ ...before, loading: true }));
		load(controller.signal).then(
			(data) => {
				failures.current = 0;
				if (controller.signal.aborted) return;
				setState({ data: changes.current.reduce((value, alter) => alter(value), data) });
				changes.current = undefined;
			},
			(error) => {
				if (controller.signal.aborted) return;
				setState((before) => ({ data: error.isTemporary ? before.data : undefined, error }));
				if (error.isTemporary) timer = setTimeout(reload, error.delay(failures.current++));
			},
		);
		return () => {
			controller.abort();
			clearTimeout(timer);
		};
	}, [...deps, attempt]);
	const update = useCallback((alter) => {
		changes.current?.push(alter);
		setState((before) => ({ ...before, data: before.data && alter(before.data) }));
	}, []);
	return { ...state, reload, update };
}

// Whether a person uses the page: an open page must not extend a session.
const ACTIVE = 300000; // milliseconds after the last input
let lastInput = Date.now();
for (const name of ["keydown", "pointerdown"]) addEventListener(name, () => (lastInput = Date.now()));
export const isActive = () => !document.hidden && Date.now() - lastInput < ACTIVE;

// The values of a form and its request, which runs once at a time. `bind(name)` returns the attributes of a `Field`.
export function useForm(initial, work) {
	const [values, setValues] = useState(initial);
	const [{ busy, error }, setState] = useState({});
	const names = [];
	const set = (changes) => setValues((before) => ({ ...before, ...changes }));
	const submit = async (event) => {
		event?.preventDefault();
		if (busy) return;
		setState({ busy: true });
		const failure = await work(values).then(() => undefined, (reason) => reason);
		setState({ error: failure });
	};
	const bind = (name) => {
		names.push(name);
		return { value: values[name], error: error?.field(name), onInput: (event) => set({ [name]: event.target.value }) };
	};
	return { values, set, bind, names, busy, error, submit };
}

// Changes a key and shows whether consumers were notified. With `id`, a repeated POST is executed once.
export async function change(method, path, verb, { body, id } = {}) {
	const { data, headers } = await request(method, path, { body, headers: { Prefer: "wait=5", ...(id && { "Idempotency-Key": id }) } });
	const status = headers.get("Event-Status");
	toast(status === "unchanged" ? "Nothing changed." : `${verb}. ${status === "published" ? "Consumers notified." : "Notification pending."}`);
	return data;
}

// The error, the loading state or the data of a resource; `children` renders the data.
export function Loaded({ resource: { data, error, loading, reload }, rows = 4, children, ...rest }) {
	return html`
		${error && html`<${ErrorBox} error=${error} retry=${reload} ...${rest} />`}
		${data === undefined && loading && !error && html`<div class="skeleton" aria-busy="true">${Array.from({ length: rows }, () => html`<span></span>`)}</div>`}
		${data !== undefined && children(data)}`;
}

export function ErrorBox({ error, what = "resource", back, retry }) {
	if (error.status === 401) return null;
	let { text } = error;
	if (error.status === 403 && error.scopes) text = `This token may not do that: it needs one of ${error.scopes}.`;
	if (error.status === 404) text = `This ${what} was deleted or never existed.`;
	const retries = retry && error.isTemporary;
	return html`<div class="banner" role="alert">
		<p>${text}${retries && " The page tries again by itself."}</p>
		<p class="actions">
			${retries && html`<button type="button" onClick=${retry}>Try now</button>`}
			${back && !error.isTemporary && html`<${Link} href=${back}>Back<//>`}
			${error.requestId && html`<span>Request <code>${error.requestId}</code></span> <${CopyButton} text=${error.requestId} label="request id" />`}
		</p>
	</div>`;
}

// Fields and forms -------------------------------------------------------------------------------

let ids = 0;
export const useId = () => useState(() => `id${(ids += 1)}`)[0];

// An input with its label, hint and error; the focus moves to an input that gets an error.
export function Field({ label, hint, error, children, as = "input", ...rest }) {
	const id = useId();
	const input = useRef();
	useEffect(() => error && input.current.focus(), [error]);
	return html`<div class="field">
		<label for=${id}>${label}</label>
		<${as} id=${id} ref=${input} aria-describedby=${hint || error ? `${id}-text` : undefined} aria-invalid=${error ? "true" : undefined} ...${rest}>${children}<//>
		<div id=${`${id}-text`}>${error ? html`<p class="error" role="alert">${error}</p>` : hint && html`<p class="hint">${hint}</p>`}</div>
	</div>`;
}

export const Select = ({ options, ...rest }) => html`<${Field} as="select" ...${rest}>${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}<//>`;

export const Checkbox = ({ label, ...rest }) => html`<label class="check"><input type="checkbox" ...${rest} /> <span>${label}</span></label>`;

export function Form({ form, text, danger, disabled, onClose, what, children, ...rest }) {
	const { error, busy, names, submit } = form;
	const label = error?.isTemporary ? "Try again" : text;
	return html`<form onSubmit=${submit} ...${rest}>
		${children}
		${error && !names.some((name) => error.field(name)) && html`<${ErrorBox} error=${error} what=${what} />`}
		<div class="buttons">
			${onClose && html`<button type="button" onClick=${onClose}>Cancel</button>`}
			${text && html`<button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy || disabled}>${busy ? "Please wait …" : label}</button>`}
		</div>
	</form>`;
}

export function Dialog({ title, onClose, children }) {
	const dialog = useRef();
	const id = useId();
	useLayoutEffect(() => {
		const element = dialog.current;
		element.showModal();
		return () => element.close(); // gives the focus back
	}, []);
	const cancel = (event) => {
		event.preventDefault();
		onClose();
	};
	return html`<dialog ref=${dialog} aria-labelledby=${id} onCancel=${cancel}><h2 id=${id}>${title}</h2>${children}</dialog>`;
}

// Asks before a change. With `word`, the word must be typed.
export function Confirm({ title, consequence, text, word, work, onClose }) {
	const form = useForm({ word: "" }, work);
	const isMissing = word !== undefined && form.values.word.trim() !== word.trim();
	return html`<${Dialog} title=${title} onClose=${onClose}><${Form} form=${form} text=${text} danger disabled=${isMissing} what="key" onClose=${onClose}>
		<p>${consequence}</p>
		${word !== undefined && html`<${Field} label=${`Type “${word}” to confirm`} autocomplete="off" ...${form.bind("word")} />`}
	<//><//>`;
}

// Copies a text; without the permission it selects the element that shows the text.
export function CopyButton({ text, label, shown }) {
	const copy = async () => {
		try {
			await navigator.clipboard.writeText(text);
			toast("Copied.");
		} catch {
			const element = shown?.current;
			if (element?.select) element.select();
			else if (element) getSelection().selectAllChildren(element);
			toast("The browser refused to copy. Copy the selected text by Ctrl+C.");
		}
	};
	return html`<button type="button" class="small copy" aria-label=${`Copy ${label}`} onClick=${copy}>Copy</button>`;
}

export function CopyField({ text, label }) {
	const input = useRef();
	return html`<span class="copy-field">
		<input readonly ref=${input} value=${text} aria-label=${label} title=${text} onFocus=${() => input.current.select()} />
		<${CopyButton} text=${text} label=${label} shown=${input} />
	</span>`;
}

export function Code({ text, label }) {
	const area = useRef();
	return html`<div class="code"><pre ref=${area} tabindex="0" role="region" aria-label=${label}>${text}</pre><${CopyButton} text=${text} label=${label} shown=${area} /></div>`;
}

// Tables -----------------------------------------------------------------------------------------

// `columns` are pairs of a heading and a function of the row; narrow screens show the heading before each value.
export function Table({ columns, rows, busy, id = (row) => row.id, ...rest }) {
	const present = columns.filter(Boolean);
	return html`<table class="cards" aria-busy=${busy ? "true" : "false"} ...${rest}>
		<thead><tr>${present.map(([head]) => html`<th scope="col">${head || html`<span class="hidden">Actions</span>`}</th>`)}</tr></thead>
		<tbody>${rows.map((row) => html`<tr key=${id(row)} data-row=${id(row)}>${present.map(([head, cell]) => html`<td data-label=${head}>${cell(row)}</td>`)}</tr>`)}</tbody>
	</table>`;
}

// A page of rows from the API with the buttons for the adjacent pages. `rowsOf` finds the rows in the response.
export function List({ resource, columns, empty, onPage, rowsOf = (data) => data, ...rest }) {
	return html`<${Loaded} resource=${resource} rows=${8} ...${rest}>${({ data, links }) => html`
		${rowsOf(data).length ? html`<${Table} columns=${columns} rows=${rowsOf(data)} busy=${resource.loading} />` : html`<div class="empty">${empty(links)}</div>`}
		${(links.previous || links.next) && html`<nav class="buttons" aria-label="Pages">
			${["previous", "next"].map((relation) => html`<button type="button" disabled=${!links[relation]} onClick=${() => onPage(links[relation])}>${relation === "next" ? "Older" : "Newer"}</button>`)}
		</nav>`}`}
	<//>`;
}

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

export function Time({ value, none = "–" }) {
	if (!value) return none;
	const date = new Date(value);
	const seconds = Math.trunc((date - Date.now()) / 1000);
	const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
	return html`<time datetime=${value} title=${date.toISOString().replace("T", " ")}>${relative.format(Math.trunc(seconds / size), unit)}</time>`;
}

// Keyboard ---------------------------------------------------------------------------------------

const shortcuts = new Map();
export const areShortcutsOn = () => localStorage.getItem("shortcuts") !== "off";

export function useShortcut(key, action) {
	useEffect(() => {
		shortcuts.set(key, action);
		return () => shortcuts.get(key) === action && shortcuts.delete(key);
	});
}

addEventListener("keydown", (event) => {
	const { target, key } = event;
	const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && !target.readOnly && target.type !== "checkbox";
	if (event.ctrlKey || event.metaKey || event.altKey || isTyping || document.querySelector("dialog[open]")) return;
	if (shortcuts.has(key) && areShortcutsOn()) {
		event.preventDefault();
		shortcuts.get(key)();
	}
});
