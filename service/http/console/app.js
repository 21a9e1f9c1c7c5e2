// The shell: session, addresses, header, messages.

import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { get, permits, prefix, request } from "./api.js";
import { areShortcutsOn, Checkbox, Dialog, isActive, Link, Loaded, navigate, toast, useResource, useShortcut } from "./ui.js";
import { Key } from "./views/key.js";
import { Keys } from "./views/keys.js";
import { Audit, Tokens } from "./views/logs.js";
import { Organizations, Projects } from "./views/projects.js";
import { SignIn } from "./views/signin.js";

const NotFound = () => html`<h1>Not found</h1><p><${Link} href="/console/">To the start<//></p>`;
const ROUTES = [
	["/console/?", Organizations, "Organizations"],
	["/console/o/(?<org>[^/]+)", Projects, "Projects"],
	["/console/o/(?<org>[^/]+)/audit", Audit, "Audit log"],
	["/console/o/(?<org>[^/]+)/tokens", Tokens, "Tokens"],
	["/console/o/(?<org>[^/]+)/p/(?<project>[^/]+)", Keys, "Keys"],
	["/console/o/(?<org>[^/]+)/p/(?<project>[^/]+)/k/(?<publicKey>[^/]+)", Key, "Key"],
	[".*", NotFound, "Not found"],
].map(([pattern, ...rest]) => [new RegExp(`^${pattern}$`), ...rest]);

const currentPath = () => location.pathname.slice(prefix.length);

// Without the mark of an earlier sign-in there is no session, and no request that is bound to fail.
async function loadSession(signal) {
	if (!localStorage.getItem("session")) return null;
	try {
		return (await get("/console/session", { signal, signsIn: true })).data;
	} catch (error) {
		if (error.status !== 401) throw error;
		localStorage.removeItem("session");
		return null;
	}
}

function App() {
	const [path, setPath] = useState(currentPath);
	const [isSignedOut, setSignedOut] = useState(false);
	const session = useResource(loadSession, []);
	const main = useRef();
	useEffect(() => {
		const follow = () => setPath(currentPath());
		addEventListener("navigate", follow);
		addEventListener("popstate", follow);
		addEventListener("signed-out", () => setSignedOut(true));
	}, []);
	const [pattern, View, title] = ROUTES.find(([route]) => route.test(path));
	const names = { ...pattern.exec(path).groups };
	const known = isSignedOut ? null : session.data;
	const heading = known === null ? "Sign in" : title;
	useEffect(() => {
		document.title = `${heading} · projectkeys`;
		const title = known && main.current.querySelector("h1");
		title?.setAttribute("tabindex", "-1");
		title?.focus();
	}, [heading, path, Boolean(known)]);
	const refresh = () => {
		localStorage.setItem("session", "opened");
		setSignedOut(false);
		session.reload();
	};
	return html`
		<a class="skip" href="#main">Skip to content</a>
		<${Header} session=${known} org=${names.org ?? known?.organization} path=${path} />
		<main id="main" tabindex="-1" ref=${main}>
			${isSignedOut ? html`<${SignIn} onSignedIn=${refresh} />` : html`<${Loaded} resource=${session}>${(data) =>
				data ? html`<${View} key=${path} session=${data} ...${names} />` : html`<${SignIn} onSignedIn=${refresh} />`}<//>`}
		</main>
		<${Footer} />
		<${Toasts} />`;
}

function Header({ session, org, path }) {
	const signOut = async () => {
		try {
			await request("DELETE", "/console/session");
			dispatchEvent(new Event("signed-out"));
			navigate("/console/");
		} catch (error) {
			toast(`You are still signed in. ${error.text}`);
		}
	};
	const item = (href, text) => html`<${Link} href=${href} aria-current=${path === href ? "page" : undefined}>${text}<//>`;
	return html`<header>
		<${Link} href="/console/" class="brand">projectkeys<//>
		${session && html`
			${org && html`<nav aria-label="Main">
				${item(`/console/o/${org}`, "Projects")}
				${permits(session, "org:write") && item(`/console/o/${org}/audit`, "Audit")}
				${permits(session, "org:admin") && item(`/console/o/${org}/tokens`, "Tokens")}
			</nav>`}
			<${Light} />
			<span class="who" title=${session.token.scopes.join(", ")}>${session.token.name}</span>
			<button type="button" class="small" onClick=${signOut}>Sign out</button>`}
	</header>`;
}

const POLL = 5000;

// Whether events reach Kafka.
function Light() {
	const [state, setState] = useState(null);
	useEffect(() => {
		const ask = () => {
			if (isActive()) get("/console/status").then(({ data }) => setState(data), () => setState({ failed: true }));
		};
		ask();
		const timer = setInterval(ask, POLL);
		return () => clearInterval(timer);
	}, []);
	const [level, text] = describe(state);
	return html`<span class=${`light ${level}`}>${text}</span>`;
}

function describe(state) {
	if (!state) return ["", "…"];
	const seconds = Math.round(state.oldestEventAgeSeconds);
	if (state.failed) return ["red", "Service unavailable"];
	if (state.parked) return ["red", `Parked events: ${state.parked}`];
	if (seconds >= 5) return [seconds < 30 ? "amber" : "red", `Events late by ${seconds} s`];
	return state.kafka === "ok" ? ["green", "Events published"] : ["amber", "Kafka unavailable"];
}

const KEYS = [["/", "Search"], ["n", "New key or project"], ["j, k", "Next, previous row"], ["Enter", "Open the row"], ["c", "Copy the DSN of the row"], ["e", "Enable or disable the row"], ["?", "This list"], ["Esc", "Close"]];

function Footer() {
	const [isOpen, setOpen] = useState(false);
	const [isOn, setOn] = useState(areShortcutsOn);
	useShortcut("?", () => setOpen(true));
	const switchOn = (event) => {
		localStorage.setItem("shortcuts", event.target.checked ? "on" : "off");
		setOn(event.target.checked);
	};
	return html`<footer>
		<a href=${`${prefix}/docs`}>HTTP API</a> <a href=${`${prefix}/docs/events`}>Kafka events</a>
		<button type="button" class="small" onClick=${() => setOpen(true)}>Keyboard shortcuts</button>
		${isOpen && html`<${Dialog} title="Keyboard shortcuts" onClose=${() => setOpen(false)}>
			<table><tbody>${KEYS.map(([key, text]) => html`<tr><th scope="row"><kbd>${key}</kbd></th><td>${text}</td></tr>`)}</tbody></table>
			<${Checkbox} label="Shortcuts are on" checked=${isOn} onChange=${switchOn} />
			<div class="buttons"><button type="button" onClick=${() => setOpen(false)}>Close</button></div>
		<//>`}
	</footer>`;
}

function Toasts() {
	const [text, setText] = useState("");
	useEffect(() => {
		let timer;
		addEventListener("toast", (event) => {
			clearTimeout(timer);
			setText(event.detail);
			timer = setTimeout(() => setText(""), 6000);
		});
	}, []);
	return html`<div role="status" class="toasts">${text && html`<p>${text}</p>`}</div>`;
}

render(html`<${App} />`, document.getElementById("app"));
