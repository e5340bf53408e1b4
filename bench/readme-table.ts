// SPDX-License-Identifier: Apache-2.0
/**
 * The README's table of a kept result, with date and host, between two markers.
 *
 *   npm run bench:readme -- RESULTS.json [--readme FILE] [--check]
 *
 * --check: writes nothing; exit code 1 if FILE has another table. test/unit/bench-readme.test.ts
 * does the same for what is kept in bench/kept/.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { projectRoot } from '../src/base/paths.ts';
import { shortNumber } from './charts/scale.ts';
import { isNowhere } from './figures/figure.ts';
import type { BenchResults } from './results.ts';
import { NOISY_WIDTH, REPEATS_OF_100 } from './stats.ts';
import { type Cell, Summary } from './summary.ts';

export const BEGIN = '<!-- bench:begin -->';
export const END = '<!-- bench:end -->';

/** Markdown, without the markers. Reasons of empty cells are footnotes below it. */
export function readmeTable(results: BenchResults): string {
  const summary = new Summary(results);
  const { host, rounds, started_at, workloads } = results;
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
  const commit = `${host.commit.slice(0, 10)}${host.dirty ? ', with changes' : ''}`;
  const where =
    `By \`understudy bench\` on ${started_at.slice(0, 10)}: ${host.cores} cores of ${host.cpu}, ` +
    `${host.os}, Linux ${host.kernel}, commit ${commit}, ${rounds} ` +
    `${rounds === 1 ? 'round' : 'rounds'}${results.complete ? '' : ', not complete'}. Medians; in ` +
    'brackets the ratio to the first column, and where it is expected again, ' +
    `${REPEATS_OF_100} times in 100; ~: noisy, that is wider than ${NOISY_WIDTH * 100} %.`;
  const notes = reasons.map((reason, at) => `${at + 1}. ${plain(reason)}`);
  return [where, '', ...lines, ...(notes.length === 0 ? [] : ['', ...notes])].join('\n');
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

/** A bar would end the cell. */
function cell(text: string): string {
  return plain(text).replaceAll('|', '\\|');
}

function plain(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

/** @throws Error if the markers are not there, once each and in order */
export function withTable(readme: string, table: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  const isOnce = readme.lastIndexOf(BEGIN) === begin && readme.lastIndexOf(END) === end;
  if (begin < 0 || end < begin || !isOnce) {
    throw new Error(`it needs one line ${BEGIN}, and after it one ${END}`);
  }
  return `${readme.slice(0, begin + BEGIN.length)}\n${table}\n${readme.slice(end)}`;
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { readme: { type: 'string' }, check: { type: 'boolean', default: false } },
  });
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) {
    console.error('usage: npm run bench:readme -- RESULTS.json [--readme FILE] [--check]');
    process.exit(2);
  }
  const path = values.readme ?? join(projectRoot(), 'README.md');
  const results = JSON.parse(readFileSync(file, 'utf8')) as BenchResults;
  if (results.format !== 1) throw new Error(`${file}: these are no results of format 1`);
  const before = readFileSync(path, 'utf8');
  const after = withTable(before, readmeTable(results));
  if (values.check) {
    if (after !== before) console.error(`${path} has another table than ${file} gives`);
    process.exit(after === before ? 0 : 1);
  }
  writeFileSync(path, after);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}
