// Sign in with a token.

import { html, useState } from "../vendor/preact-htm.js";
import { ApiError, get, request } from "../api.js";
import { Checkbox, Code, Field, Form, useForm } from "../ui.js";

const UNKNOWN = "This token is unknown, expired or revoked.";
const INSECURE = "Sign-in needs HTTPS, or a browser on the machine of the service (http://127.0.0.1): over plain HTTP others on the network can read the token, and the browser does not keep the session.";
const COOKIE_LOST = "The browser did not keep the cookie of the session. It keeps it only over HTTPS or on this machine (http://127.0.0.1, http://localhost), and only if cookies are permitted.";

export function SignIn({ onSignedIn }) {
	const [isShown, setShown] = useState(false);
	const form = useForm({ token: "" }, async ({ token }) => {
		const reject = (text) => (error) => {
			throw error.status === 401 ? new ApiError(400, { token: [text] }) : error;
		};
		await request("POST", "/console/session", { body: { token }, signsIn: true }).catch(reject(UNKNOWN));
		await get("/console/session", { signsIn: true }).catch(reject(COOKIE_LOST));
		onSignedIn();
	});
	return html`<section class="card narrow">
		<h1>Sign in</h1>
		${!isSecureContext && html`<p class="banner" role="alert">${INSECURE}</p>`}
		<${Form} form=${form} text="Sign in" disabled=${!isSecureContext || !form.values.token.trim()}>
			<${Field} label="API token" type=${isShown ? "text" : "password"} autocomplete="off" spellcheck="false" autofocus disabled=${!isSecureContext} ...${form.bind("token")} />
			<${Checkbox} label="Show the token" checked=${isShown} onChange=${(event) => setShown(event.target.checked)} />
		<//>
		<p class="hint">Create a token on the command line:</p>
		<${Code} text="projectkeys token create me --org acme --scope project:admin" label="command" />
		<p class="hint">A session has the rights of its token. It ends after 30 minutes without use, after 8 hours, or with the token.</p>
	</section>`;
}
