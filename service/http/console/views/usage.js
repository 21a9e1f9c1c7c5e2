// How many events the ingest services accepted and rejected, by day.

import { html } from "../vendor/preact-htm.js";
import { get, query } from "../api.js";
import { Loaded, useResource } from "../ui.js";

const DAYS = 30;
const DAY = 86400;
const SERIES = [["accepted", "Accepted"], ["dropped", "Rate limited"], ["filtered", "Filtered"]];
const HEIGHT = 100;
const WIDTH = 12;

export function Usage({ isCounted, path }) {
	const stats = useResource(async (signal) => {
		if (!isCounted) return null;
		const until = Math.floor(Date.now() / 1000);
		const range = { since: String(until - DAYS * DAY), until: String(until), resolution: "1d" };
		return (await get(path + query(range), { signal })).data;
	}, [path]);
	return html`<${Loaded} resource=${stats}>${(points) =>
		points === null
			? html`<p class="muted">Usage is not collected here. It is counted where relays report outcomes through the edge.</p>`
			: html`<${Chart} points=${points} />`}
	<//>`;
}

function Chart({ points }) {
	const sum = (name) => points.reduce((total, point) => total + point[name], 0);
	const highest = Math.max(1, ...points.map((point) => SERIES.reduce((total, [name]) => total + point[name], 0)));
	const text = `In the last ${DAYS} days: ${SERIES.map(([name, label]) => `${sum(name)} ${label.toLowerCase()}`).join(", ")}.`;
	return html`<p>${text}</p>
		<svg class="chart" role="img" aria-label=${text} viewBox=${`0 0 ${points.length * WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
			${points.map((point, index) => {
				let top = HEIGHT;
				return SERIES.map(([name]) => {
					const height = (point[name] / highest) * HEIGHT;
					top -= height;
					return html`<rect class=${name} x=${index * WIDTH + 1} y=${top} width=${WIDTH - 2} height=${height} />`;
				});
			})}
		</svg>
		<details><summary>Numbers</summary><div class="scroll" tabindex="0" role="region" aria-label="Numbers"><table class="plain">
			<thead><tr><th scope="col">Day</th>${SERIES.map(([, label]) => html`<th scope="col">${label}</th>`)}</tr></thead>
			<tbody>${points.map((point) => html`<tr><th scope="row">${new Date(point.ts * 1000).toISOString().slice(0, 10)}</th>${SERIES.map(([name]) => html`<td>${point[name]}</td>`)}</tr>`)}</tbody>
		</table></div></details>`;
}
