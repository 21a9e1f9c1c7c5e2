// Requests to the service. The session is a cookie that scripts cannot read; no token is stored here.

export const prefix = document.documentElement.dataset.prefix;
export const segment = encodeURIComponent;
export const organizationPath = (org) => `/api/0/organizations/${segment(org)}/`;
const LONGEST_DELAY = 30000; // milliseconds

// A response with an error status, or none: then `status` is 0.
export class ApiError extends Error {
	constructor(status, body, headers, requestId) {
		super(`HTTP ${status}`);
		Object.assign(this, { status, body, requestId });
		this.scopes = /scope="([^"]*)"/.exec(headers?.get("WWW-Authenticate") ?? "")?.[1].replaceAll(" ", ", ");
		this.retryAfter = Number(headers?.get("Retry-After")) || 1;
		this.isTemporary = status === 0 || status === 429 || status >= 500;
		this.text = status === 0 ? "The service cannot be reached." : `The request failed with status ${status}.`;
		if (typeof body?.detail === "string") this.text = body.detail;
	}

	// Milliseconds until the next attempt after `failures` earlier ones.
	delay(failures) {
		return Math.min(this.retryAfter * 1000 * 2 ** failures, LONGEST_DELAY);
	}

	// The messages about one member of the request body.
	field(name) {
		const messages = this.status < 500 ? this.body?.[name] : undefined;
		return Array.isArray(messages) ? messages.join(" ") : messages && JSON.stringify(messages);
	}
}

// Resolves to {data, headers, links}; rejects with ApiError, or AbortError if `signal` aborts.
export async function request(method, path, { body, headers, signal, signsIn } = {}) {
	// The prefix of the id shows in the audit log that the console made the change.
	const requestId = `console-${crypto.randomUUID()}`;
	const type = method !== "GET" && { "Content-Type": "application/json" };
	let response, text, data = null;
	try {
		response = await fetch(prefix + path, {
			method, signal, body: body && JSON.stringify(body), cache: "no-store",
			headers: { Accept: "application/json", "X-Request-Id": requestId, ...type, ...headers },
		});
		text = await response.text();
	} catch (error) {
		throw error.name === "AbortError" ? error : new ApiError(0, null, null, requestId);
	}
	try {
		data = text ? JSON.parse(text) : null;
	} catch { /* the page of a proxy */ }
	if (response.ok) return { data, headers: response.headers, links: parseLinks(response.headers.get("Link") ?? "") };
	if (response.status === 401 && !signsIn) dispatchEvent(new Event("signed-out"));
	throw new ApiError(response.status, data, response.headers, response.headers.get("X-Request-Id") ?? requestId);
}

export const get = (path, options) => request("GET", path, options);

// Returns the cursors of the adjacent pages that have rows, by relation.
function parseLinks(header) {
	const all = [...header.matchAll(/rel="(\w+)"; results="(\w+)"; cursor="([^"]*)"/g)];
	return Object.fromEntries(all.filter(([, , results]) => results === "true").map(([, relation, , cursor]) => [relation, cursor]));
}

export function query(parameters) {
	const present = Object.entries(parameters).filter(([, value]) => value);
	return present.length ? `?${new URLSearchParams(present)}` : "";
}

// Whether the token of a session has one of these scopes, or a higher one of the same noun.
export function permits(session, ...scopes) {
	const levels = ["read", "write", "admin"];
	return scopes.map((scope) => scope.split(":")).some(([noun, level]) =>
		levels.slice(levels.indexOf(level)).some((held) => session.token.scopes.includes(`${noun}:${held}`)));
}
