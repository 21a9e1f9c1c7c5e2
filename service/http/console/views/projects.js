// Organizations and their projects.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { get, organizationPath, permits, query, request, segment } from "../api.js";
import { Dialog, Field, Form, Link, List, navigate, Time, toast, useForm, useResource, useShortcut } from "../ui.js";

const columns = (base) => [
	["Name", (row) => html`<${Link} href=${`${base}/${row.slug}`}>${row.name}<//>`],
	["Slug", (row) => html`<code>${row.slug}</code>`],
	["Created", (row) => html`<${Time} value=${row.dateCreated} />`],
];

export function Organizations({ session: { organization } }) {
	const [cursor, setCursor] = useState("");
	const list = useResource(async (signal) => !organization && get(`/api/0/organizations/${query({ cursor })}`, { signal }), [cursor]);
	useEffect(() => organization && navigate(`/console/o/${organization}`, true), [organization]);
	if (organization) return html`<h1>Organizations</h1>`;
	const empty = () => html`<p>No organizations yet. <code>projectkeys org create "Acme"</code> creates one.</p>`;
	return html`<h1>Organizations</h1><${List} resource=${list} columns=${columns("/console/o")} empty=${empty} onPage=${setCursor} />`;
}

export function Projects({ session, org }) {
	const [search, setSearch] = useState({ query: "", cursor: "" });
	const [isNew, setNew] = useState(false);
	const path = `${organizationPath(org)}projects/`;
	const mayList = permits(session, "org:read");
	const list = useResource(async (signal) => mayList && get(path + query(search), { signal }), [org, search]);
	const mayCreate = permits(session, "project:write", "org:write");
	useShortcut("n", () => mayCreate && setNew(true));
	const create = mayCreate && html`<button type="button" class="primary" onClick=${() => setNew(true)}>New project</button>`;
	const empty = () => (search.query ? html`<p>No project matches “${search.query}”.</p><button type="button" onClick=${() => setSearch({ query: "" })}>Clear</button>` : html`<p>No projects yet.</p>${create}`);
	if (!mayList) return html`<${BySlug} org=${org} />`;
	return html`<div class="bar"><h1>Projects</h1>${create}</div>
		<div class="filters"><input type="search" aria-label="Search projects" placeholder="Search by name or slug" maxlength="64" value=${search.query} onInput=${(event) => setSearch({ query: event.target.value })} /></div>
		<${List} resource=${list} columns=${columns(`/console/o/${org}/p`)} empty=${empty} what="organization" back="/console/" onPage=${(cursor) => setSearch({ ...search, cursor })} />
		${isNew && html`<${NewProject} org=${org} path=${path} onClose=${() => setNew(false)} />`}`;
}

// For tokens that may not list projects.
function BySlug({ org }) {
	const form = useForm({ slug: "" }, async ({ slug }) => navigate(`/console/o/${org}/p/${segment(slug.trim())}`));
	return html`<h1>Projects</h1>
		<p>This token may not list projects, which needs org:read. Open a project by its slug.</p>
		<${Form} class="narrow" form=${form} text="Open" disabled=${!form.values.slug.trim()}><${Field} label="Slug of the project" ...${form.bind("slug")} /><//>`;
}

function NewProject({ org, path, onClose }) {
	const [id] = useState(() => crypto.randomUUID());
	const form = useForm({ name: "", slug: "" }, async ({ name, slug }) => {
		const { data } = await request("POST", path, { body: { name, ...(slug && { slug }) }, headers: { "Idempotency-Key": id } });
		toast("Project created.");
		navigate(`/console/o/${org}/p/${data.slug}`);
	});
	return html`<${Dialog} title="New project" onClose=${onClose}><${Form} form=${form} text="Create" onClose=${onClose}>
		<${Field} label="Name" required ...${form.bind("name")} />
		<${Field} label="Slug" hint="If it is empty, it is derived from the name." maxlength="50" ...${form.bind("slug")} />
	<//><//>`;
}
