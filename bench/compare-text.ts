// SPDX-License-Identifier: Apache-2.0
/** A comparison of two results, for a terminal. */
import chalk from 'chalk';
import Table from 'cli-table3';
import {
  ALL,
  type ComparedFigure,
  type Comparison,
  NOISY_CHANGE,
  type Verdict,
} from './compare.ts';

const COLOUR: Readonly<Record<Verdict, (text: string) => string>> = {
  slower: chalk.red,
  faster: chalk.green,
  same: chalk.dim,
  noisy: chalk.yellow,
  missing: chalk.magenta,
};

/** For a terminal: what changed first, then what cannot be told, then counts of the rest. */
export function renderComparison(comparison: Comparison): string {
  const { a, b, rows, together, flagged, host_change, cautions } = comparison;
  const lines = [
    `${a.id} (${a.commit}, ${a.rounds} rounds) → ${b.id} (${b.commit}, ${b.rounds} rounds)`,
    'Performance of the second over the first; below 1 is slower. Each is the change of a ' +
      "figure's ratio to the baseline in its own results.",
  ];
  if (host_change !== null) {
    lines.push(`The baselines themselves: ×${host_change.toFixed(3)} (median), which cancels.`);
  }
  const order: readonly Verdict[] = ['slower', 'faster', 'missing', 'noisy', 'same'];
  const sorted = [...rows].sort((x, y) => order.indexOf(x.verdict) - order.indexOf(y.verdict));
  lines.push(tableOf(sorted));
  const all = together.filter(({ verdict }) => verdict === 'slower' || verdict === 'faster');
  if (all.length > 0) {
    lines.push('Figures of a workload together, round by round, where that shows a change:');
    lines.push(tableOf(all));
  }
  const missing = [...new Set(rows.flatMap((row) => (row.why === null ? [] : [whyLine(row)])))];
  if (missing.length > 0) lines.push('Missing:', ...missing.map((line) => `  ${line}`));
  lines.push(...cautions.map((caution) => chalk.yellow(`Caution: ${caution}.`)));
  const counts = order.map(
    (verdict) => `${rows.filter((row) => row.verdict === verdict).length} ${verdict}`,
  );
  lines.push(
    `${counts.join(', ')}. noisy: the interval is wider than ${NOISY_CHANGE * 100} %, and no ` +
      'change is beyond it.',
    flagged
      ? chalk.red('FLAGGED: something of ours is slower, or no longer counts.')
      : 'Not flagged.',
  );
  return lines.join('\n');
}

function tableOf(rows: readonly ComparedFigure[]): string {
  const table = new Table({
    head: ['workload', 'figure', 'system', 'change', '95 % interval', 'verdict'],
    style: { head: [], border: [] },
  });
  const all = (name: string): string => (name === ALL ? 'all' : name);
  for (const { workload, figure, system, change, low, high, verdict, ours } of rows) {
    table.push([
      workload,
      all(figure),
      ours ? all(system) : `${system} (peer)`,
      change === null ? '–' : `×${change.toFixed(3)}`,
      low === null || high === null ? '–' : `${low.toFixed(3)} to ${high.toFixed(3)}`,
      COLOUR[verdict](verdict),
    ]);
  }
  return table.toString();
}

function whyLine({ workload, system, why }: ComparedFigure): string {
  return `${workload} on ${system}: ${why}`;
}
