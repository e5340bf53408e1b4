// SPDX-License-Identifier: Apache-2.0
/**
 * docs/measurements.md's table and docs/measurements.svg, made of a kept result.
 *
 *   npm run bench:measurements -- RESULTS.json [--page FILE] [--check]
 *
 * The table goes between two markers of FILE, with date and host; the figure is FILE's name
 * with .svg. --check: writes nothing; exit code 1 if FILE has another table or figure.
 * test/unit/bench-measurements.test.ts does the same for what is kept in bench/kept/.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { projectRoot } from '../src/base/paths.ts';
import { shortNumber } from './charts/scale.ts';
import { isNowhere } from './figures/figure.ts';
import { drawOverview } from './figures/overview.ts';
import type { BenchResults } from './results.ts';
import { NOISY_WIDTH, REPEATS_OF_100 } from './stats.ts';
import { type Cell, Summary } from './summary.ts';

export const BEGIN = '<!-- bench:begin -->';
export const END = '<!-- bench:end -->';
/** Systems in the figure: few enough to be read at a glance. */
const DRAWN = new Set(['icount', 'rr-record', 'record', 'lockstep']);

/** The table in Markdown, without the markers. Reasons of empty cells are footnotes below it. */
export function measurementsTable(results: BenchResults): string {
  const summary = new Summary(results);
  const { workloads } = results;
  const systems = results.systems.filter((system) => !isNowhere(summary, system));
  const reasons: string[] = [];
  const note = (reason: string): string => {
    if (!reasons.includes(reason)) reasons.push(reason);
    return `<sup>${reasons.indexOf(reason) + 1}</sup>`;
  };
  const rows = workloads.flatMap(({ name, title, figures }) =>
    figures.map((figure) => {
      const cells = systems.map((system) =>
        cellText(summary.cell(name, system.name, figure.name), note),
      );
      return [`${title}: ${figure.name}, ${figure.unit}`, ...cells];
    }),
  );
  const head = ['', ...systems.map(({ title }) => title)];
  const lines = [head, head.map(() => '---'), ...rows].map(
    (row) => `| ${row.map(cell).join(' | ')} |`,
  );
  const notes = reasons.map((reason, at) => `${at + 1}. ${plain(reason)}`);
  return [where(results), '', ...lines, ...(notes.length === 0 ? [] : ['', ...notes])].join('\n');
}

/** The figure: every workload on the systems in `DRAWN`. */
export function measurementsFigure(results: BenchResults): string {
  return drawOverview(results, ({ name }) => DRAWN.has(name)).svg;
}

function where({ host, rounds, started_at, complete }: BenchResults): string {
  const commit = `${host.commit.slice(0, 10)}${host.dirty ? ', with changes' : ''}`;
  return (
    `By \`understudy bench\` on ${started_at.slice(0, 10)}: ${host.cores} cores of ${host.cpu}, ` +
    `${host.os}, Linux ${host.kernel}, commit ${commit}, ${rounds} ` +
    `${rounds === 1 ? 'round' : 'rounds'}${complete ? '' : ', not complete'}. Each value is the ` +
    'median of the rounds. In brackets: the middle of the rounds’ ratios to the first column, and ' +
    `the interval in which it is expected again ${REPEATS_OF_100} times in 100. ~: noisy, the ` +
    `interval is wider than ${NOISY_WIDTH * 100} % of the ratio.`
  );
}

function cellText(found: Cell | undefined, note: (reason: string) => string): string {
  if (found === undefined || found.value === null) return `–${note(found?.why ?? 'not measured')}`;
  const { value, ratio, why } = found;
  const number = shortNumber(value.median);
  if (ratio === null) return why === null ? number : `${number}${note(why)}`;
  const { low, high, noisy } = ratio;
  const interval = low === null || high === null ? '' : `; ${low.toFixed(2)}–${high.toFixed(2)}`;
  return `${number} (${ratio.ratio.toFixed(2)}${interval}${noisy ? ' ~' : ''})`;
}

/** Text of a cell: a bar would end it. */
function cell(text: string): string {
  return plain(text).replaceAll('|', '\\|');
}

function plain(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

/** @throws Error if the markers are not there, once each and in order */
export function withTable(page: string, table: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  const isOnce = page.lastIndexOf(BEGIN) === begin && page.lastIndexOf(END) === end;
  if (begin < 0 || end < begin || !isOnce) {
    throw new Error(`it needs one line ${BEGIN}, and after it one ${END}`);
  }
  return `${page.slice(0, begin + BEGIN.length)}\n${table}\n${page.slice(end)}`;
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { page: { type: 'string' }, check: { type: 'boolean', default: false } },
  });
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) {
    console.error('usage: npm run bench:measurements -- RESULTS.json [--page FILE] [--check]');
    process.exit(2);
  }
  const path = values.page ?? join(projectRoot(), 'docs', 'measurements.md');
  const results = JSON.parse(readFileSync(file, 'utf8')) as BenchResults;
  if (results.format !== 1) throw new Error(`${file}: these are no results of format 1`);
  const figure = path.replace(/(\.md)?$/, '.svg');
  const made = new Map([
    [path, withTable(readFileSync(path, 'utf8'), measurementsTable(results))],
    [figure, measurementsFigure(results)],
  ]);
  const stale = [...made].filter(
    ([name, content]) => !existsSync(name) || readFileSync(name, 'utf8') !== content,
  );
  if (values.check) {
    for (const [name] of stale) console.error(`${name} is not what ${file} gives`);
    process.exit(stale.length === 0 ? 0 : 1);
  }
  for (const [name, content] of stale) writeFileSync(name, content);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}
