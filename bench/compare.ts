// SPDX-License-Identifier: Apache-2.0
/**
 * Two results of the harness, of two commits: what became slower, beyond noise.
 *
 * What is compared is each figure's ratio to the baseline of its own results, so that a
 * host that was slower on the other day cancels. A change counts when it is larger than
 * {@link MARGIN}, which two invocations of the same build may differ by, and when it is
 * not luck: Student's test on the logarithms of the ratios, with the spread moderated by
 * that of all figures (stats.ts), and with Holm's correction, because among a hundred
 * figures some differ by luck.
 *
 * One noisy figure of a few rounds shows only what is very large. What makes the path of
 * every output longer is in several figures and systems of a workload at once, so these
 * are also tested together: their mean, round by round, whose spread is then its own
 * (figures of one run go up and down together, and a round is what is independent),
 * against the mean of all systems that run no code of ours, not the baseline alone.
 *
 * Only systems that are verified can be flagged: the others run no code of ours.
 */
import { type Agreement, agreementOf } from './agreement.ts';
import { studentCdf } from './distributions.ts';
import type { BenchResults, FigureFacts } from './results.ts';
import { mean, median, moderated, type Prior, priorOf, tOf } from './stats.ts';
import { Summary } from './summary.ts';

/** Logarithm of a ratio that is no change yet: 5 %. */
export const MARGIN = Math.log(1.05);
/** Chance that an unchanged build is flagged, over everything together. */
const ALPHA = 0.02;
/** Ours: single figures; several of one system; several of all. Each has its part. */
const FAMILIES = 3;
/** Stands for more than one, in a row of several tested together. */
export const ALL = '*';
/** Confidence level of a change's interval. */
const LEVEL = 0.95;
/** An interval of a change wider than this says neither that there is one nor that not. */
export const NOISY_CHANGE = 0.2;

export type Verdict = 'slower' | 'faster' | 'same' | 'noisy' | 'missing';

export interface ComparedFigure {
  readonly workload: string;
  readonly system: string;
  readonly figure: string;
  readonly unit: string;
  /** Performance of the second over that of the first: below 1 is slower. Null: missing. */
  readonly change: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly verdict: Verdict;
  /** It runs our code, and so counts for `flagged`. */
  readonly ours: boolean;
  /** Reason of `missing`. */
  readonly why: string | null;
  /** Whether a `missing` figure is in the first, and not in the second although it ran it. */
  readonly lost: boolean;
}

export interface Comparison {
  readonly a: { readonly id: string; readonly commit: string; readonly rounds: number };
  readonly b: { readonly id: string; readonly commit: string; readonly rounds: number };
  /** Something of ours became slower, or counts no longer. */
  readonly flagged: boolean;
  readonly rows: readonly ComparedFigure[];
  /** Our figures of a workload with the same unit: `figure` is ALL, `system` may be. */
  readonly together: readonly ComparedFigure[];
  /** Whether the second came out as the first promised. */
  readonly agreement: Agreement;
  /** The baselines' speed in the second over the first, median of all: the host's. */
  readonly host_change: number | null;
  /** What makes the two hard to compare: another CPU, a tree that was not committed, … */
  readonly cautions: readonly string[];
}

interface Tested {
  readonly row: ComparedFigure;
  /** That it is luck; NaN of rows without an interval. */
  readonly p: number;
}

/** Logarithms of performance, by round. */
interface Logs {
  readonly before: ReadonlyMap<number, number>;
  readonly after: ReadonlyMap<number, number>;
}

export function compareResults(a: BenchResults, b: BenchResults): Comparison {
  const [first, second] = [new Summary(a), new Summary(b)];
  const places = placesOf(a, b).map((place) => {
    const logs = { before: logsOf(first, place), after: logsOf(second, place) };
    const side = logs.after.size > 0 ? 'first' : logs.before.size > 0 ? 'second' : 'both';
    const why = (): string => `${side}: ${whyOf(side === 'first' ? first : second, place)}`;
    return { place, logs, why };
  });
  const prior = priorOf(places.flatMap(({ logs }) => valuesOf(logs)));
  const singles = places.map(({ place, logs, why }) => testOf(place, logs, prior, why));
  const ours = steadied(places);
  const bySystem = togetherOf(ours, ({ system }) => system);
  const byWorkload = togetherOf(ours, () => ALL);
  // Peers apart: they must not make ours harder to see.
  const rejected = new Set([
    ...beyondLuck(singles.filter(({ row }) => row.ours)),
    ...beyondLuck(singles.filter(({ row }) => !row.ours)),
    ...beyondLuck(bySystem),
    ...beyondLuck(byWorkload),
  ]);
  const verdicts = (tested: readonly Tested[]): ComparedFigure[] =>
    tested.map((one) => (rejected.has(one) ? changed(one.row) : one.row));
  const rows = verdicts(singles).map((row) => ({ ...row, lost: isLost(row, a, b) }));
  const together = verdicts([...byWorkload, ...bySystem]);
  return {
    a: { id: a.id, commit: a.host.commit, rounds: a.rounds },
    b: { id: b.id, commit: b.host.commit, rounds: b.rounds },
    flagged: [...rows, ...together].some(
      (row) => row.ours && (row.verdict === 'slower' || row.lost),
    ),
    rows,
    together,
    agreement: agreementOf(first, second),
    host_change: hostChange(first, second),
    cautions: cautionsOf(a, b),
  };
}

interface Place {
  readonly workload: string;
  readonly system: string;
  readonly figure: FigureFacts;
  readonly ours: boolean;
}

/** Every figure of either with every system of either that has a baseline. */
function placesOf(a: BenchResults, b: BenchResults): Place[] {
  const places = new Map<string, Place>();
  for (const { workloads, systems } of [a, b]) {
    for (const workload of workloads) {
      for (const figure of workload.figures) {
        for (const { name, baseline, verified } of systems) {
          if (baseline === null) continue;
          const place = { workload: workload.name, system: name, figure, ours: verified };
          places.set(`${workload.name}\n${figure.name}\n${name}`, place);
        }
      }
    }
  }
  return [...places.values()];
}

/** Why there is no ratio; asked only where there is none. */
function whyOf(summary: Summary, { workload, system, figure }: Place): string {
  const cell = summary.cell(workload, system, figure.name);
  return cell === undefined ? 'it was not asked for' : (cell.why ?? 'it has no ratio');
}

function logsOf(
  summary: Summary,
  { workload, system, figure }: Place,
): ReadonlyMap<number, number> {
  const sign = figure.better === 'more' ? 1 : -1;
  const ratios = summary.ratiosByRound(workload, system, figure.name);
  return new Map([...ratios].map(([round, ratio]) => [round, sign * Math.log(ratio)]));
}

function valuesOf({ before, after }: Logs): [number[], number[]] {
  return [[...before.values()], [...after.values()]];
}

function testOf(
  { workload, system, figure, ours }: Place,
  logs: Logs,
  prior: Prior | null,
  why: () => string = () => 'nothing counts',
): Tested {
  const [before, after] = valuesOf(logs);
  const names = { workload, system, figure: figure.name, unit: figure.unit, ours, lost: false };
  const none = { change: null, low: null, high: null };
  if (before.length === 0 || after.length === 0) {
    return { row: { ...names, ...none, verdict: 'missing', why: why() }, p: Number.NaN };
  }
  const log = mean(after) - mean(before);
  const change = Math.exp(log);
  const known = moderated([before, after], prior);
  if (known === null) {
    const row = { ...names, ...none, change, verdict: 'noisy' as const, why: null };
    return { row, p: Number.NaN };
  }
  const error = Math.sqrt(known.variance * (1 / before.length + 1 / after.length));
  const half = tOf(known.freedom, LEVEL) * error;
  const p = 2 * (1 - studentCdf(Math.abs(log) / error, known.freedom));
  const interval = { low: Math.exp(log - half), high: Math.exp(log + half) };
  const isWide = interval.high - interval.low > NOISY_CHANGE * change;
  const verdict = isWide ? 'noisy' : 'same';
  return { row: { ...names, change, ...interval, verdict, why: null }, p };
}

interface PlacedLogs {
  readonly place: Place;
  readonly logs: Logs;
}

/**
 * Ours, against the mean of the baseline and of the peers of each round: none of them runs
 * our code, and one run of a baseline is as noisy as one of ours.
 */
function steadied(places: readonly PlacedLogs[]): PlacedLogs[] {
  return places.flatMap(({ place, logs }) => {
    if (!place.ours || logs.before.size === 0 || logs.after.size === 0) return [];
    const peers = places.filter(
      (other) =>
        !other.place.ours &&
        other.place.workload === place.workload &&
        other.place.figure.name === place.figure.name &&
        // In some rounds only, it would move them against the others.
        hasRoundsOf(other.logs, logs),
    );
    const middles = peers.map((peer) => mean([...peer.logs.before.values()]));
    const against = (which: 'before' | 'after'): ReadonlyMap<number, number> =>
      new Map(
        [...logs[which]].map(([round, value]) => {
          const all = peers.map(
            (peer, at) => (peer.logs[which].get(round) ?? 0) - (middles[at] ?? 0),
          );
          // The baseline is one of them, and is 0 against itself.
          return [round, value - all.reduce((sum, each) => sum + each, 0) / (peers.length + 1)];
        }),
      );
    return [{ place, logs: { before: against('before'), after: against('after') } }];
  });
}

function hasRoundsOf(logs: Logs, of: Logs): boolean {
  return (['before', 'after'] as const).every((which) =>
    [...of[which].keys()].every((round) => logs[which].has(round)),
  );
}

/** Tests a workload's figures of one unit together: the mean over them of each round. */
function togetherOf(places: readonly PlacedLogs[], systemOf: (place: Place) => string): Tested[] {
  const groups = new Map<string, { place: Place; parts: Logs[] }>();
  for (const { place, logs } of places) {
    const { workload, figure } = place;
    const system = systemOf(place);
    // Rates of transfer and round trips do not slow down for the same reasons.
    const key = `${workload}\n${system}\n${figure.unit}`;
    const all = { workload, system, figure: { ...figure, name: ALL }, ours: true };
    const group = groups.get(key) ?? { place: all, parts: [] };
    groups.set(key, group);
    group.parts.push(logs);
  }
  const tests = [...groups.values()].map(({ place, parts }) => ({ place, logs: meanOf(parts) }));
  const prior = priorOf(tests.flatMap(({ logs }) => valuesOf(logs)));
  return tests.map(({ place, logs }) => testOf(place, logs, prior));
}

/** Each part against its own mean before, so that a round that lacks one is not off. */
function meanOf(parts: readonly Logs[]): Logs {
  const centred = parts.map(({ before, after }) => {
    const middle = mean([...before.values()]);
    return { middle, before, after };
  });
  const side = (which: 'before' | 'after'): ReadonlyMap<number, number> => {
    const rounds = new Set(parts.flatMap((part) => [...part[which].keys()]));
    return new Map(
      [...rounds].map((round) => {
        const values = centred.flatMap(({ middle, ...part }) => {
          const value = part[which].get(round);
          return value === undefined ? [] : [value - middle];
        });
        return [round, mean(values)];
      }),
    );
  };
  return { before: side('before'), after: side('after') };
}

/** Holm: the smallest p counts if it is below alpha / n, the next below alpha / (n − 1), … */
function beyondLuck(tested: readonly Tested[]): Tested[] {
  const ordered = tested.filter(({ p }) => !Number.isNaN(p)).sort((x, y) => x.p - y.p);
  const end = ordered.findIndex(({ p }, at) => p > ALPHA / FAMILIES / (ordered.length - at));
  const beyond = end < 0 ? ordered : ordered.slice(0, end);
  return beyond.filter(({ row }) => Math.abs(Math.log(row.change ?? 1)) > MARGIN);
}

function changed(row: ComparedFigure): ComparedFigure {
  return { ...row, verdict: (row.change ?? 1) < 1 ? 'slower' : 'faster' };
}

/** It counted in the first and does not in the second, which had it to run. */
function isLost(row: ComparedFigure, a: BenchResults, b: BenchResults): boolean {
  if (row.verdict !== 'missing' || !(row.why ?? '').startsWith('second: ') || !b.complete) {
    return false;
  }
  const ran = (results: BenchResults): boolean =>
    results.runs.some(({ workload, system }) => workload === row.workload && system === row.system);
  return ran(a) && ran(b);
}

function hostChange(first: Summary, second: Summary): number | null {
  const changes = first.cells.flatMap((cell) => {
    if (cell.system.baseline !== null || cell.value === null) return [];
    const other = second.cell(cell.workload.name, cell.system.name, cell.figure.name)?.value;
    if (other === undefined || other === null) return [];
    const change = other.median / cell.value.median;
    return [cell.figure.better === 'more' ? change : 1 / change];
  });
  return changes.length === 0 ? null : median(changes);
}

function cautionsOf(a: BenchResults, b: BenchResults): string[] {
  const cautions: string[] = [];
  const differ = (name: string, x: string | number, y: string | number): void => {
    if (x !== y) cautions.push(`the ${name} differs: ${x}, ${y}`);
  };
  differ('CPU', a.host.cpu, b.host.cpu);
  differ('number of cores', a.host.cores, b.host.cores);
  differ('kernel', a.host.kernel, b.host.kernel);
  for (const [name, { id, complete, quick, host, rounds }] of [
    ['first', a],
    ['second', b],
  ] as const) {
    if (!complete) cautions.push(`the ${name}, ${id}, is not complete`);
    if (quick) cautions.push(`the ${name}, ${id}, is a quick one`);
    if (host.dirty) cautions.push(`the ${name}'s tree had changes that were not committed`);
    if (rounds < 3) cautions.push(`the ${name} has ${rounds} round(s): little can be seen`);
  }
  return cautions;
}

export { renderComparison } from './compare-text.ts';
