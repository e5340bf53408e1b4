// SPDX-License-Identifier: Apache-2.0
/** A comparison of two results, for a terminal. */

import { colour } from '../src/base/colour.ts';
import { textTable } from '../src/base/text-table.ts';
import type { Agreement } from './agreement.ts';
import {
  ALL,
  type ComparedFigure,
  type Comparison,
  NOISY_CHANGE,
  type Verdict,
} from './compare.ts';

const COLOUR: Readonly<Record<Verdict, (text: string) => string>> = {
  slower: colour.red,
  faster: colour.green,
  same: colour.dim,
  noisy: colour.yellow,
  missing: colour.magenta,
};

/** For a terminal: what changed first, then what cannot be told, then counts of the rest. */
export function renderComparison(comparison: Comparison): string {
  const { a, b, rows, together, flagged, host_change, cautions } = comparison;
  const lines = [
    `${nameOf(a)} → ${nameOf(b)}`,
    'Performance of the second over the first; below 1 is slower. Each is the change of a ' +
      "figure's ratio to the baseline in its own results.",
  ];
  if (host_change !== null) {
    lines.push(`The baselines themselves: ×${host_change.toFixed(3)} (median), which cancels.`);
  }
  const order: readonly Verdict[] = ['slower', 'faster', 'missing', 'noisy', 'same'];
  // What neither has is named below only.
  const told = rows.filter(({ verdict, lost }) => verdict !== 'missing' || lost);
  const sorted = [...told].sort((x, y) => order.indexOf(x.verdict) - order.indexOf(y.verdict));
  lines.push(tableOf(sorted));
  const all = together.filter(({ verdict }) => verdict === 'slower' || verdict === 'faster');
  if (all.length > 0) {
    lines.push('Several together, round by round, where that shows a change:');
    lines.push(tableOf(all));
  }
  const missing = gathered(rows);
  if (missing.length > 0) lines.push('Missing:', ...missing.map((line) => `  ${line}`));
  lines.push(...cautions.map((caution) => colour.yellow(`Caution: ${caution}.`)));
  lines.push(...agreementLines(comparison.agreement));
  const counts = order.map(
    (verdict) => `${rows.filter((row) => row.verdict === verdict).length} ${verdict}`,
  );
  lines.push(
    `${counts.join(', ')}. noisy: the interval is wider than ${NOISY_CHANGE * 100} %, and no ` +
      'change is beyond it.',
    flagged
      ? colour.red('FLAGGED: something of ours is slower, or no longer counts.')
      : 'Not flagged.',
  );
  return lines.join('\n');
}

function nameOf({ id, commit, rounds }: Comparison['a']): string {
  return `${id} (commit ${commit.slice(0, 10)}, ${rounds} ${rounds === 1 ? 'round' : 'rounds'})`;
}

function agreementLines({ ratios, noisy, noisyInside, inside, outside }: Agreement): string[] {
  const rest = ratios - noisy;
  return [
    `Of ${ratios} ratios ${noisy} are noisy in the first, and ${noisyInside} of these are in ` +
      `its interval all the same; of the other ${rest}, ${inside} are.`,
    ...outside.map(({ workload, figure, system, low, high, ratio }) => {
      const interval = `${low.toFixed(3)} to ${high.toFixed(3)}`;
      return `  outside: ${workload}, ${figure}, ${system}: ${ratio.toFixed(3)}, not ${interval}`;
    }),
  ];
}

function tableOf(rows: readonly ComparedFigure[]): string {
  const table = textTable({
    head: ['workload', 'figure', 'system', 'change', '95 % interval', 'verdict'],
    compact: true,
  });
  const all = (name: string, of: string): string => (name === ALL ? `all ${of}` : name);
  for (const { workload, figure, unit, system, change, low, high, verdict, ours } of rows) {
    table.push([
      workload,
      all(figure, `in ${unit}`),
      ours ? all(system, 'of ours') : `${system} (peer)`,
      change === null ? '–' : `×${change.toFixed(3)}`,
      low === null || high === null ? '–' : `${low.toFixed(3)} to ${high.toFixed(3)}`,
      COLOUR[verdict](verdict),
    ]);
  }
  return table.toString();
}

/** One line for each reason and system. */
function gathered(rows: readonly ComparedFigure[]): string[] {
  const places = new Map<string, string[]>();
  for (const { workload, system, why } of rows) {
    if (why === null) continue;
    const key = `${system}, ${why}`;
    places.set(key, [...new Set([...(places.get(key) ?? []), workload])]);
  }
  return [...places].map(([key, workloads]) => `${key} (${workloads.join(', ')})`);
}
