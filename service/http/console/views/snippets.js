// How to configure ten SDKs with a DSN.

import { html, useRef, useState } from "../vendor/preact-htm.js";
import { Code, useId } from "../ui.js";

const envelope = (dsn) => {
	const url = new URL(dsn);
	const at = url.pathname.lastIndexOf("/");
	return `${url.protocol}//${url.host}${url.pathname.slice(0, at)}/api/${url.pathname.slice(at + 1)}/envelope/`;
};

const SNIPPETS = [
	["Python", (dsn) => `pip install sentry-sdk\n\nimport sentry_sdk\n\nsentry_sdk.init(dsn="${dsn}")`],
	["JavaScript", (dsn, loader) => `<!-- the loader -->\n<script src="${loader ?? ""}" crossorigin="anonymous"></script>\n\n// or the package @sentry/browser\nimport * as Sentry from "@sentry/browser";\n\nSentry.init({ dsn: "${dsn}" });`],
	["Node.js", (dsn) => `npm install @sentry/node\n\nconst Sentry = require("@sentry/node");\n\nSentry.init({ dsn: "${dsn}" });`],
	["Go", (dsn) => `go get github.com/getsentry/sentry-go\n\nerr := sentry.Init(sentry.ClientOptions{\n\tDsn: "${dsn}",\n})`],
	["Java", (dsn) => `// io.sentry:sentry\nimport io.sentry.Sentry;\n\nSentry.init(options -> options.setDsn("${dsn}"));`],
	[".NET", (dsn) => `dotnet add package Sentry\n\nusing var _ = SentrySdk.Init(options =>\n{\n    options.Dsn = "${dsn}";\n});`],
	["PHP", (dsn) => `composer require sentry/sentry\n\n\\Sentry\\init(['dsn' => '${dsn}']);`],
	["Ruby", (dsn) => `bundle add sentry-ruby\n\nSentry.init do |config|\n  config.dsn = '${dsn}'\nend`],
	["Rust", (dsn) => `cargo add sentry\n\nlet _guard = sentry::init("${dsn}");`],
	["curl", (dsn) => `curl '${envelope(dsn)}' \\\n  -H 'X-Sentry-Auth: Sentry sentry_version=7, sentry_key=${new URL(dsn).username}' \\\n  --data-binary $'{}\\n{"type":"event"}\\n{"message":"Hello"}\\n'`],
];

export function Snippets({ dsn, loader }) {
	const [chosen, setChosen] = useState(0);
	const list = useRef();
	const id = useId();
	const move = (event) => {
		const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (!step) return;
		event.preventDefault();
		const next = (chosen + step + SNIPPETS.length) % SNIPPETS.length;
		setChosen(next);
		list.current.children[next].focus();
	};
	return html`<div role="tablist" aria-label="SDK" class="tabs" ref=${list} onKeyDown=${move}>
			${SNIPPETS.map(([name], index) => html`<button type="button" role="tab" id=${`${id}-${index}`} aria-selected=${index === chosen} aria-controls=${`${id}-panel`} tabindex=${index === chosen ? 0 : -1} onClick=${() => setChosen(index)}>${name}</button>`)}
		</div>
		<div role="tabpanel" id=${`${id}-panel`} aria-labelledby=${`${id}-${chosen}`}>
			<${Code} text=${SNIPPETS[chosen][1](dsn, loader)} label=${`snippet for ${SNIPPETS[chosen][0]}`} />
			<p class="hint">Many SDKs also read the environment variable:</p>
			<${Code} text=${`SENTRY_DSN=${dsn}`} label="environment variable" />
		</div>`;
}
