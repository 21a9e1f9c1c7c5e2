// The stream of events of a project, and the list that shows it.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { organizationPath, prefix, query } from "./api.js";
import { isActive, Link, Time } from "./ui.js";

const SHOWN = 50;
const CHECK = 5000; // milliseconds

// Calls `onEvent({type, key, at, id})` for each event, and `onReset` when events may have been missed. Returns the state
// of the connection: "connecting", "live" or "problem".
export function useEvents(org, project, onEvent, onReset) {
	const [state, setState] = useState("connecting");
	const handlers = useRef();
	handlers.current = { onEvent, onReset };
	useEffect(() => {
		let source;
		const listen = (name, next, handle) => source.addEventListener(name, (event) => {
			setState(next);
			handle?.(event);
		});
		const close = () => {
			source?.close();
			source = undefined;
		};
		// After a response with an error status the browser does not connect again.
		const check = () => {
			if (document.hidden) close(); // a browser opens only six connections to a server
			if (document.hidden || !isActive() || (source && source.readyState !== EventSource.CLOSED)) return;
			source = new EventSource(`${prefix}${organizationPath(org)}events/stream/${query({ project })}`);
			listen("error", "connecting");
			listen("problem", "problem");
			listen("reset", "live", () => handlers.current.onReset());
			for (const type of ["created", "updated", "deleted"]) {
				listen(`projectkey.${type}`, "live", ({ data, lastEventId: id }) =>
					handlers.current.onEvent({ type, id, key: JSON.parse(data), at: new Date().toISOString() }));
			}
		};
		check();
		const timer = setInterval(check, CHECK);
		document.addEventListener("visibilitychange", check);
		return () => {
			clearInterval(timer);
			document.removeEventListener("visibilitychange", check);
			close();
		};
	}, [org, project]);
	return state;
}

const STATES = { connecting: "Connecting …", live: "Connected.", problem: "Kafka is unavailable. The list continues by itself." };

// `events`: the newest first.
export function Feed({ state, events, base }) {
	const [isPaused, setPaused] = useState(false);
	const [isHeld, setHeld] = useState(false); // while the pointer or the focus is in the list
	const shown = useRef(events);
	if (!isPaused && !isHeld) shown.current = events;
	const hold = () => setHeld(true);
	const release = () => setHeld(false);
	const waiting = events[0] !== shown.current[0];
	return html`<aside aria-labelledby="feed" class="card">
		<div class="bar"><h2 id="feed">Live events</h2><button type="button" class="small" onClick=${() => setPaused(!isPaused)}>${isPaused ? "Continue" : "Pause"}</button></div>
		<p class=${`hint ${state}`}>${STATES[state]}${waiting && " There are newer events."}</p>
		<div role="log" aria-live="polite" aria-label="Events" tabindex="0" onMouseEnter=${hold} onMouseLeave=${release} onFocusCapture=${hold} onBlurCapture=${release}>
			${!shown.current.length && html`<p class="muted">Changes of this project's keys appear here.</p>`}
			${shown.current.slice(0, SHOWN).map(({ id, type, at, key }) => html`<p key=${id}>
				<span class=${`badge ${type}`}>${type}</span> ${type === "deleted" ? key.name : html`<${Link} href=${`${base}/k/${key.id}`}>${key.name}<//>`}
				<span class="muted"> version ${key.version}, <${Time} value=${at} /></span>
			</p>`)}
		</div>
	</aside>`;
}
