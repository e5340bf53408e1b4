// SPDX-License-Identifier: Apache-2.0
/** What a figure is, and what several of them need of results. */
import type { Bar } from '../charts/bars.ts';
import { shortNumber } from '../charts/scale.ts';
import { COLOURS, PAPER } from '../charts/svg.ts';
import type { BenchResults, SystemFacts } from '../results.ts';
import type { Ratio } from '../stats.ts';
import { performanceOf, type Summary } from '../summary.ts';

export type Field = string | number | null;

export interface Made {
  readonly svg: string;
  readonly columns: readonly string[];
  /** What is drawn, as CSV. */
  readonly rows: readonly (readonly Field[])[];
  /** Why something of it is missing: "not yet", was not measured, is noisy. */
  readonly notes: readonly string[];
}

/** Every file of this folder exports one. */
export interface Figure {
  /** Base name of its files. */
  readonly name: string;
  readonly title: string;
  /** Whose figure it is. */
  readonly source: string;
  make(results: BenchResults): Made;
}

export const PAPER_COLOUR = PAPER;
/** A few colours by system, the same in all figures. */
const BY_SYSTEM: readonly [prefix: string, at: number][] = [
  ['lockstep-epoch', 4],
  ['lockstep', 0],
  ['record', 2],
  ['replay', 6],
  ['icount', 7],
  ['rr-record', 1],
  ['rr-replay', 3],
  ['colo', 5],
  ['remus', 8],
  ['kemari-every', 9],
  ['kemari', 10],
];

export function colourOfSystem(name: string): string {
  const found = BY_SYSTEM.find(([prefix]) => name === prefix || name.startsWith(`${prefix}-`));
  return COLOURS[found?.[1] ?? 6] ?? COLOURS[0];
}

/** Two VMs, or more: not a recording or its replay, and none that is in a figure of its own. */
export function protocolsOf({ systems }: BenchResults): SystemFacts[] {
  return systems.filter(
    ({ name, verified, baseline, variantOf }) =>
      verified &&
      baseline !== null &&
      variantOf === undefined &&
      !/^(record|replay)(-|$)/.test(name),
  );
}

/** What protects a VM with a second one, and is not ours: nothing of it is verified. */
export function peersOf({ systems }: BenchResults): SystemFacts[] {
  return systems.filter(({ name }) => name === 'colo');
}

/** Instructions of an epoch of `lockstep-epoch` and its kin; null: it has none. */
export function epochOf(summary: Summary, system: string): number | null {
  if (!system.includes('epoch')) return null;
  for (const { name } of summary.results.workloads) {
    const fact = summary.fact(name, system, 'epoch_instructions');
    if (fact !== null) return fact;
  }
  const digits = /(\d+)([kKmM]?)$/.exec(system);
  if (digits === null) return null;
  const unit = { k: 1e3, m: 1e6 }[(digits[2] ?? '').toLowerCase()] ?? 1;
  return Number(digits[1]) * unit;
}

export function isNotYet(why: string): boolean {
  return /^not yet\b/.test(why);
}

/** In a drawing there is room for little; the notes below have all of it. */
export function briefly(why: string): string {
  return isNotYet(why) ? 'not yet' : why.length > 60 ? `${why.slice(0, 57)}…` : why;
}

export function ratioText({ ratio, low, high, noisy }: Ratio): string {
  if (low === null || high === null) return `${two(ratio)} (one round)`;
  return `${two(ratio)} (${two(low)}–${two(high)})${noisy ? ' noisy' : ''}`;
}

export function two(value: number): string {
  return value >= 99.5 ? shortNumber(value) : value.toFixed(value < 0.1 ? 3 : 2);
}

/** −24 %, +3 % */
export function percent(share: number): string {
  const value = Math.round(share * 100);
  return value < 0 ? `−${-value} %` : `+${value} %`;
}

/** A system's performance on one figure, as a bar against the baseline. */
export function performanceBar(
  summary: Summary,
  at: { readonly workload: string; readonly figure: string },
  system: SystemFacts,
): { readonly bar: Bar; readonly row: readonly Field[]; readonly note: string | null } {
  const cell = summary.cell(at.workload, system.name, at.figure);
  const ratio = cell === undefined ? null : performanceOf(cell);
  const place = { label: system.title, colour: colourOfSystem(system.name) };
  if (ratio === null) {
    const why = cell?.why ?? `${at.workload} ${at.figure} is not in these results`;
    return {
      bar: { ...place, value: null, note: briefly(why) },
      row: [at.workload, at.figure, system.name, null, null, null, why],
      note: `${system.title}, ${at.figure}: ${why}`,
    };
  }
  const { low, high } = ratio;
  return {
    bar: { ...place, value: ratio.ratio, low, high, note: ratioText(ratio) },
    row: [at.workload, at.figure, system.name, ratio.ratio, low, high, ratio.noisy ? 'noisy' : ''],
    note: null,
  };
}

/** One line for the same reason, however often. */
export function gathered(notes: readonly (string | null)[]): string[] {
  return [...new Set(notes.filter((note) => note !== null))];
}

/** Why cells are empty, one line for each reason, naming where; not of systems without any. */
export function emptyCells(summary: Summary, systems: readonly SystemFacts[]): string[] {
  const byReason = new Map<string, Map<string, string[]>>();
  for (const { workload, system, figure, why } of summary.cells) {
    if (why === null || !systems.includes(system)) continue;
    const isWhole = summary.whyNot(workload.name, system.name) !== null;
    const place = isWhole ? workload.title : `${workload.title} ${figure.name}`;
    const where = byReason.get(why) ?? new Map<string, string[]>();
    byReason.set(why, where);
    where.set(system.title, [...new Set([...(where.get(system.title) ?? []), place])]);
  }
  return [...byReason].map(([why, where]) => {
    const places = [...where].map(([title, of]) => `${title} (${of.join(', ')})`);
    return `${places.join('; ')}: ${why}.`;
  });
}

/** Systems of which no run of any workload counts. */
export function isNowhere(summary: Summary, { name }: SystemFacts): boolean {
  return summary.results.workloads.every(
    (workload) => summary.whyNot(workload.name, name) !== null,
  );
}

/** The reasons of systems that have nothing at all, once for each. */
export function absences(summary: Summary, systems: readonly SystemFacts[]): string[] {
  const byReason = new Map<string, string[]>();
  const { workloads } = summary.results;
  for (const { name, title } of systems) {
    const whys = workloads.map((workload) => summary.whyNot(workload.name, name));
    const [first] = whys;
    if (typeof first !== 'string' || whys.some((why) => why !== first)) continue;
    // "not yet" says the same of each, and names it.
    const why = isNotYet(first) ? 'not yet in this version' : first;
    byReason.set(why, [...(byReason.get(why) ?? []), title]);
  }
  return [...byReason].map(([why, titles]) => `${titles.join('; ')}: ${why}.`);
}
