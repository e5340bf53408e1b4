// SPDX-License-Identifier: Apache-2.0
/** What was verified of the runs that claim to be exact, and which of them failed. */
import type { Run, SystemFacts } from '../results.ts';
import { excludedBecause, type Summary } from '../summary.ts';
import { type Html, html, joined } from './html.ts';

export function verificationPart({ results }: Summary): Html {
  const verified = results.systems.filter((system) => system.verified);
  const rows = verified.flatMap((system) => {
    const runs = results.runs.filter((run) => run.system === system.name);
    return runs.length === 0 ? [] : [rowOf(system, runs)];
  });
  if (rows.length === 0) return html`<p>No system that is verified has run.</p>`;
  const failed = verified.flatMap((system) =>
    results.runs.flatMap((run) => {
      const why = run.system === system.name ? excludedBecause(run, system) : null;
      return why === null ? [] : [{ run, system, why }];
    }),
  );
  const list = failed.map(
    ({ run, system, why }) =>
      html`<li>${system.title}, ${run.workload}, round ${run.round + 1}: ${why}</li>\n`,
  );
  return html`<table class="facts">
<caption>Runs of verified systems. Only those that count are in tables and figures.</caption>
<thead><tr><th>system</th><th>runs</th><th>count</th><th>baseline in the same round</th>
<th>log replays with equal digests</th><th>image has the primary's digests</th>
<th>disks of both sides equal</th></tr></thead>
<tbody>
${joined(rows)}</tbody></table>
${list.length === 0 ? html`<p>Every one of them was verified and counts.</p>` : html`<p class="bad">Left out:</p><ul>${joined(list)}</ul>`}`;
}

function rowOf(system: SystemFacts, runs: readonly Run[]): Html {
  const of = (name: 'baseline' | 'replay' | 'image' | 'disks'): string => {
    const known = runs.flatMap(({ verification }) => verification?.[name] ?? []);
    if (known.length === 0) return 'does not apply';
    return `${known.filter((one) => one).length} of ${known.length}`;
  };
  const counted = runs.filter((run) => excludedBecause(run, system) === null).length;
  return html`<tr><th scope="row">${system.title}</th><td>${runs.length}</td><td>${counted}</td>
<td>${of('baseline')}</td><td>${of('replay')}</td><td>${of('image')}</td><td>${of('disks')}</td></tr>\n`;
}
