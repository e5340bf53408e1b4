// SPDX-License-Identifier: Apache-2.0
/** The report's tables: a workload each, its figures on every system, with footnotes. */
import { shortNumber } from '../charts/scale.ts';
import { absences, isNowhere, two } from '../figures/figure.ts';
import type { SystemFacts, WorkloadFacts } from '../results.ts';
import type { Cell, Summary } from '../summary.ts';
import { type Html, html, joined } from './html.ts';

export function resultsTables(summary: Summary): Html {
  const { workloads, systems } = summary.results;
  const nowhere = systems.filter((system) => isNowhere(summary, system));
  const shown = systems.filter((system) => !nowhere.includes(system));
  const notes = new Map<string, number>();
  const note = (reason: string): Html => {
    const number = notes.get(reason) ?? notes.size + 1;
    notes.set(reason, number);
    return html`<sup><a href="#note-${number}">${number}</a></sup>`;
  };
  const tables = workloads.map((workload) => tableOf(summary, workload, shown, note));
  const list = [...notes].map(([reason, number]) => html`<li id="note-${number}">${reason}</li>\n`);
  const missing = absences(summary, nowhere).map((line) => html`<li>${line}</li>\n`);
  return html`<p>Median of the rounds; below it the ratio to the baseline and where it is expected
again. ✓: its runs are verified.</p>
${missing.length === 0 ? html`` : html`<p>In no table, since no run of them counts:</p><ul>\n${joined(missing)}</ul>`}
<div class="tables">
${joined(tables)}</div>
<ol class="notes">
${joined(list)}</ol>`;
}

function tableOf(
  summary: Summary,
  workload: WorkloadFacts,
  systems: readonly SystemFacts[],
  note: (reason: string) => Html,
): Html {
  const heads = workload.figures.map(({ name, unit, better }) => {
    return html`<th scope="col">${name}<small>${unit}, ${better} is better</small></th>`;
  });
  const rows = systems.map((system) => {
    const cells = workload.figures.map((figure) =>
      cellOf(summary.cell(workload.name, system.name, figure.name), note),
    );
    const name = `${system.title}${system.verified ? ' ✓' : ''}`;
    return html`<tr><th scope="row">${name}</th>${joined(cells)}</tr>\n`;
  });
  return html`<table class="results">
<caption>${workload.title}</caption>
<thead><tr><td></td>${joined(heads)}</tr></thead>
<tbody>
${joined(rows)}</tbody></table>
`;
}

function cellOf(cell: Cell | undefined, note: (reason: string) => Html): Html {
  if (cell === undefined || cell.value === null) {
    const why = cell?.why ?? 'it is not in these results';
    return html`<td class="none">${/^not yet\b/.test(why) ? 'not yet' : '–'}${note(why)}</td>`;
  }
  const { value, ratio, why, leftOut } = cell;
  const marks = joined(leftOut.map((reason) => note(`Left out, ${cell.system.title}, ${reason}`)));
  const below =
    ratio === null
      ? why === null
        ? html``
        : html`<small>no ratio${note(why)}</small>`
      : ratioOf(ratio);
  return html`<td>${shortNumber(value.median)}${marks}${below}</td>`;
}

function ratioOf({ ratio, low, high, noisy }: NonNullable<Cell['ratio']>): Html {
  const interval = low === null || high === null ? 'one round' : `${two(low)}–${two(high)}`;
  const mark = noisy && low !== null ? html` <span class="noisy">noisy</span>` : html``;
  return html`<small>×${two(ratio)} (${interval})${mark}</small>`;
}
