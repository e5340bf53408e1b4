// SPDX-License-Identifier: Apache-2.0
/**
 * Results as cells: what every table and figure is made of. A cell is one figure of one
 * workload on one system, with its value, its ratio to its baseline, or the reason why
 * there is none. Only runs that count are in it.
 */
import type {
  BenchResults,
  Experiment,
  FigureFacts,
  Run,
  SystemFacts,
  WorkloadFacts,
} from './results.ts';
import { median, type Prior, priorOf, type Ratio, ratioOf, spread } from './stats.ts';

export interface Value {
  readonly median: number;
  readonly spread: number | null;
  readonly rounds: number;
}

export interface Cell {
  readonly workload: WorkloadFacts;
  readonly system: SystemFacts;
  readonly figure: FigureFacts;
  readonly value: Value | null;
  /** As measured: over the baseline's value. Null: it is the baseline, or `why` says it. */
  readonly ratio: Ratio | null;
  /** Why there is no value or no ratio; null: nothing is missing. */
  readonly why: string | null;
  /** Reasons of runs that are left out although others of this cell count. */
  readonly leftOut: readonly string[];
}

export class Summary {
  readonly results: BenchResults;
  readonly #runs = new Map<string, Run[]>();
  readonly #counted = new Map<string, readonly Run[]>();
  #cells: ReadonlyMap<string, Cell> | null = null;

  constructor(results: BenchResults) {
    this.results = results;
    for (const run of results.runs) {
      const key = keyOf(run.workload, run.system);
      this.#runs.set(key, [...(this.#runs.get(key) ?? []), run]);
    }
  }

  /** In the order of workloads, their figures, systems. */
  get cells(): readonly Cell[] {
    return [...this.#all().values()];
  }

  cell(workload: string, system: string, figure: string): Cell | undefined {
    return this.#all().get(cellKey(workload, system, figure));
  }

  /** Runs that count, in order of rounds. */
  runs(workload: string, system: string): readonly Run[] {
    const key = keyOf(workload, system);
    const known = this.#counted.get(key);
    if (known !== undefined) return known;
    const facts = this.results.systems.find(({ name }) => name === system);
    const runs = (this.#runs.get(key) ?? []).filter((run) => excludedBecause(run, facts) === null);
    this.#counted.set(key, runs);
    return runs;
  }

  /** One a round in which both the system and its baseline count. */
  ratios(workload: string, system: string, figure: string): number[] {
    return [...this.ratiosByRound(workload, system, figure).values()];
  }

  ratiosByRound(workload: string, system: string, figure: string): Map<number, number> {
    const baseline = this.results.systems.find(({ name }) => name === system)?.baseline ?? null;
    const ratios = new Map<number, number>();
    if (baseline === null) return ratios;
    const bases = this.runs(workload, baseline);
    for (const run of this.runs(workload, system)) {
      const base = bases.find(({ round }) => round === run.round)?.values[figure];
      const value = run.values[figure];
      if (value !== undefined && base !== undefined && value > 0 && base > 0) {
        ratios.set(run.round, value / base);
      }
    }
    return ratios;
  }

  /** Median of a fact over the runs that count; null: none has it. */
  fact(workload: string, system: string, name: string): number | null {
    const values = this.runs(workload, system).flatMap(({ facts }) => facts[name] ?? []);
    return values.length === 0 ? null : median(values);
  }

  /** Why nothing of this workload on this system counts; null: something does. */
  whyNot(workload: string, system: string): string | null {
    if (this.runs(workload, system).length > 0) return null;
    const { systems, complete } = this.results;
    const facts = systems.find(({ name }) => name === system);
    const all = this.#runs.get(keyOf(workload, system)) ?? [];
    const reasons = [...new Set(all.flatMap((run) => excludedBecause(run, facts) ?? []))];
    if (reasons.length > 0) return `no run counts: ${reasons.join('; ')}`;
    const said = this.#absence(workload, system);
    if (said !== null) return said;
    return complete ? 'not run' : 'not run: the harness was ended before';
  }

  /** Why it gives no figures, as it was said before any run. */
  #absence(workload: string, system: string): string | null {
    const { absent } = this.results;
    return absent.find((one) => one.workload === workload && one.system === system)?.why ?? null;
  }

  experiment(name: string): Experiment | undefined {
    return this.results.experiments.find((experiment) => experiment.name === name);
  }

  #all(): ReadonlyMap<string, Cell> {
    if (this.#cells !== null) return this.#cells;
    const { workloads, systems } = this.results;
    const places = workloads.flatMap((workload) =>
      workload.figures.flatMap((figure) => systems.map((system) => ({ workload, system, figure }))),
    );
    const prior = priorOf(
      places.map(({ workload, system, figure }) =>
        this.ratios(workload.name, system.name, figure.name).map(Math.log),
      ),
    );
    this.#cells = new Map(
      places.map(({ workload, system, figure }) => [
        cellKey(workload.name, system.name, figure.name),
        this.#cell(workload, system, figure, prior),
      ]),
    );
    return this.#cells;
  }

  #cell(
    workload: WorkloadFacts,
    system: SystemFacts,
    figure: FigureFacts,
    prior: Prior | null,
  ): Cell {
    const place = { workload, system, figure };
    const none = this.whyNot(workload.name, system.name);
    if (none !== null) return { ...place, value: null, ratio: null, why: none, leftOut: [] };
    const all = this.#runs.get(keyOf(workload.name, system.name)) ?? [];
    const leftOut = all.flatMap((run) => {
      const why = excludedBecause(run, system);
      return why === null ? [] : [`round ${run.round + 1}: ${why}`];
    });
    const values = this.runs(workload.name, system.name).flatMap(
      (run) => run.values[figure.name] ?? [],
    );
    if (values.length === 0) {
      const why = this.#absence(workload.name, system.name) ?? 'it gives no such figure';
      return { ...place, value: null, ratio: null, why, leftOut };
    }
    const value = { median: median(values), spread: spread(values), rounds: values.length };
    if (system.baseline === null) return { ...place, value, ratio: null, why: null, leftOut };
    const ratios = this.ratios(workload.name, system.name, figure.name);
    if (ratios.length === 0) {
      const why = `no round in which ${system.baseline} counts too`;
      return { ...place, value, ratio: null, why, leftOut };
    }
    return { ...place, value, ratio: ratioOf(ratios, prior), why: null, leftOut };
  }
}

/**
 * Why a run counts for nothing; null: it counts. A run of a verified system counts only
 * if nothing of its verification failed, and if there was one.
 */
export function excludedBecause(run: Run, system: SystemFacts | undefined): string | null {
  if (run.invalid !== null) return run.invalid;
  if (system?.verified !== true) return null;
  if (run.verification === null) return 'it was not verified';
  const { baseline, replay, image, disks } = run.verification;
  if (!baseline) return 'its baseline did not run in the same round';
  if (replay === false) return 'its log does not replay with equal digests';
  if (image === false) return "the backup's image was not compared with the primary's memory";
  return disks === false ? "the two sides' disks differ" : null;
}

/**
 * A ratio as performance: above 1 is faster than the baseline, whether the figure is a
 * rate or a time.
 */
export function performanceOf({ ratio, figure }: Cell): Ratio | null {
  if (ratio === null || figure.better === 'more') return ratio;
  const inverse = (value: number | null): number | null => (value === null ? null : 1 / value);
  return { ...ratio, ratio: 1 / ratio.ratio, low: inverse(ratio.high), high: inverse(ratio.low) };
}

function keyOf(workload: string, system: string): string {
  return `${workload}\n${system}`;
}

function cellKey(workload: string, system: string, figure: string): string {
  return `${workload}\n${system}\n${figure}`;
}
