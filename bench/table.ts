// SPDX-License-Identifier: Apache-2.0
/**
 * Results in a terminal: each figure of each workload on each system, with its ratio to the
 * baseline and what that is worth. No cell is empty: a number refers to the reason below.
 */

import { colour } from '../src/base/colour.ts';
import { textTable } from '../src/base/text-table.ts';
import { shortNumber } from './charts/scale.ts';
import { absences, isNowhere } from './figures/figure.ts';
import type { BenchResults, SystemFacts } from './results.ts';
import { NOISY_WIDTH, type Ratio, REPEATS_OF_100 } from './stats.ts';
import { type Cell, Summary } from './summary.ts';

const WIDTH = 120;
const FIRST_WIDTH = 30;
const SYSTEM_WIDTH = 19;

/** @param width columns of the terminal; systems that do not fit go to another table below */
export function terminalTable(results: BenchResults, width: number = WIDTH): string {
  const summary = new Summary(results);
  const notes = new Footnotes();
  const nowhere = results.systems.filter((system) => isNowhere(summary, system));
  const parts = inParts(
    results.systems.filter((system) => !nowhere.includes(system)),
    Math.max(1, Math.floor((width - FIRST_WIDTH) / SYSTEM_WIDTH)),
  );
  const isMeasured = results.workloads.length > 0 && nowhere.length < results.systems.length;
  const tables = isMeasured ? parts.map((systems) => tableOf(summary, systems, notes)) : [];
  const missing = absences(summary, nowhere).map((line) => `No run of ${line}`);
  const lines = [
    headline(results),
    ...tables,
    ...(isMeasured ? [legend(summary)] : []),
    ...missing,
    ...notes.lines(),
  ];
  return lines.join('\n');
}

function tableOf(summary: Summary, systems: readonly SystemFacts[], notes: Footnotes): string {
  const table = textTable({
    head: ['', ...systems.map(({ title }) => colour.bold(title))],
    wordWrap: true,
    colWidths: [FIRST_WIDTH, ...systems.map(() => SYSTEM_WIDTH)],
  });
  for (const workload of summary.results.workloads) {
    for (const figure of workload.figures) {
      const cells = systems.map((system) =>
        cellText(summary.cell(workload.name, system.name, figure.name), notes),
      );
      const better = figure.better === 'more' ? 'more is better' : 'less is better';
      const name = `${colour.bold(workload.title)} ${figure.name}`;
      table.push([`${name}\n${colour.dim(`${figure.unit}, ${better}`)}`, ...cells]);
    }
  }
  return table.toString();
}

function cellText(cell: Cell | undefined, notes: Footnotes): string {
  if (cell === undefined) return colour.dim(`– [${notes.of('it is not in these results')}]`);
  const { value, ratio, why, leftOut } = cell;
  if (value === null) return colour.dim(`– [${notes.of(why ?? 'it has no value')}]`);
  const marks = leftOut.map((reason) => `[${notes.of(`left out: ${reason}`)}]`).join('');
  const lines = [`${shortNumber(value.median)}${marks}`];
  if (ratio !== null) lines.push(ratioLine(ratio));
  else if (why !== null) lines.push(colour.dim(`no ratio [${notes.of(why)}]`));
  return lines.join('\n');
}

function ratioLine({ ratio, low, high, noisy }: Ratio): string {
  const interval = low === null || high === null ? '' : ` ${two(low)}–${two(high)}`;
  const line = `×${two(ratio)}${interval}`;
  return noisy ? colour.yellow(`${line} ~`) : line;
}

function two(value: number): string {
  return value >= 100 ? shortNumber(value) : value.toFixed(2);
}

function headline({ id, host, rounds, quick, complete }: BenchResults): string {
  const parts = [
    id,
    `${host.cores} cores of ${host.cpu}`,
    `commit ${host.commit.slice(0, 10)}${host.dirty ? ', with changes' : ''}`,
    `${rounds} ${rounds === 1 ? 'round' : 'rounds'}`,
    ...(quick ? ['quick'] : []),
  ];
  const line = parts.join('; ');
  return complete
    ? line
    : `${line}\n${colour.yellow('NOT COMPLETE: it was ended before its time.')}`;
}

function legend({ results }: Summary): string {
  const [base] = results.systems.filter(({ baseline }) => baseline === null);
  return (
    `Medians of the rounds. ×: over ${base?.title ?? 'the baseline'}, within a round, and where ` +
    `the ratio is expected again, ${REPEATS_OF_100} times in 100. ~: noisy, that is wider than ` +
    `${NOISY_WIDTH * 100} % of the ratio, or there was one round.`
  );
}

/** The same reason has the same number. */
class Footnotes {
  readonly #numbers = new Map<string, number>();

  of(reason: string): number {
    const known = this.#numbers.get(reason) ?? this.#numbers.size + 1;
    this.#numbers.set(reason, known);
    return known;
  }

  lines(): string[] {
    return [...this.#numbers].map(([reason, number]) => `[${number}] ${reason}`);
  }
}

/** The baseline is the first of each part, so that each table can be read alone. */
function inParts(systems: readonly SystemFacts[], perPart: number): SystemFacts[][] {
  if (systems.length <= perPart) return [[...systems]];
  const first = systems.filter(({ baseline }) => baseline === null).slice(0, 1);
  const others = systems.filter((system) => !first.includes(system));
  const size = Math.max(1, perPart - first.length);
  const parts: SystemFacts[][] = [];
  for (let from = 0; from < others.length; from += size) {
    parts.push([...first, ...others.slice(from, from + size)]);
  }
  return parts;
}
