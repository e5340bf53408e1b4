// SPDX-License-Identifier: Apache-2.0
/**
 * Does a plan: cell after cell, each run in a folder of its own that is gone afterwards, and
 * the results on disk after each. What a system or a guest does wrong costs its own run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../src/base/errors.ts';
import type { Run } from '../results.ts';
import type { System, VmSpec } from '../systems/system.ts';
import { judge } from './cell.ts';
import { interruption, runOne } from './one.ts';
import { type Absences, type Cell, cellsOf, Estimate, isMute, type Plan } from './plan.ts';
import type { ResultsStore } from './store.ts';

/** Told what goes on, for people. */
export interface Watcher {
  /** @param leftS seconds, estimated */
  begin(what: string, done: number, total: number, leftS: number): void;
  ran(run: Run): void;
  note(text: string): void;
}

export interface RunnerOptions {
  readonly plan: Plan;
  readonly absent: Absences;
  readonly store: ResultsStore;
  readonly watcher: Watcher;
  readonly interrupted: AbortSignal;
}

/** A run that takes so many times what is expected hangs. */
const HANGS_AFTER = 8;
const TIMEOUT_S_MIN = 90;
const TIMEOUT_S_MAX = 600;

/** @throws UnderstudyError interrupted, with what was measured in the store */
export class Runner {
  readonly #o: RunnerOptions;
  readonly #estimate: Estimate;
  readonly #specs = new Map<string, VmSpec>();
  #systems: readonly System[] = [];
  #cells: readonly Cell[] = [];
  #done = 0;

  constructor(options: RunnerOptions) {
    this.#o = options;
    this.#estimate = new Estimate(options.plan);
  }

  async run(): Promise<void> {
    await this.#prepare();
    const { plan, absent } = this.#o;
    this.#cells = cellsOf(plan, absent).filter(({ workload }) => this.#specs.has(workload.name));
    for (const cell of this.#cells) await this.#runCell(cell);
  }

  /** Finds out what cannot run here, and says so in the results. */
  async #prepare(): Promise<void> {
    const { plan, absent, store, watcher } = this.#o;
    const able = plan.systems.filter(({ name }) => !absent.has(name));
    for (const [system, why] of absent) {
      store.addAbsent(...plan.workloads.map(({ name }) => ({ workload: name, system, why })));
    }
    for (const workload of plan.workloads) {
      const mute = able.filter((system) => isMute(system, workload));
      const why = 'nobody talks to a replay';
      store.addAbsent(...mute.map(({ name }) => ({ workload: workload.name, system: name, why })));
      for (const { name, only } of able) {
        if (only === undefined || only.workloads.includes(workload.name)) continue;
        store.addAbsent({ workload: workload.name, system: name, why: only.why });
      }
    }
    this.#systems = able;
    for (const workload of plan.workloads) {
      this.#o.interrupted.throwIfAborted();
      try {
        this.#specs.set(workload.name, await workload.prepare(plan.scale));
      } catch (error) {
        const why = `the guest for it cannot be made here: ${messageOf(error)}`;
        watcher.note(`${workload.name}: ${why}`);
        store.addAbsent(
          ...able.map((system) => ({ workload: workload.name, system: system.name, why })),
        );
      }
    }
  }

  async #runCell(cell: Cell): Promise<void> {
    const { store, interrupted } = this.#o;
    const spec = this.#specs.get(cell.workload.name);
    if (spec === undefined) return;
    const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-'));
    const runs: Run[] = [];
    try {
      for (const system of cell.systems) {
        if (interrupted.aborted) throw interruption();
        this.#begin(cell, system);
        const run = await this.#runOne(cell, system, spec, dir);
        runs.push(run);
        store.addRun(judge(system, run, runs, this.#systems));
        this.#amend(runs);
        this.#discard(system, dir);
        this.#o.watcher.ran(
          this.#isPending(system, run) ? run : (store.results.runs.at(-1) ?? run),
        );
        this.#done += 1;
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }

  async #runOne(cell: Cell, system: System, spec: VmSpec, dir: string): Promise<Run> {
    const { plan, interrupted } = this.#o;
    const { workload, round } = cell;
    const startedMs = performance.now();
    const expectedS = this.#estimate.of(system.name, workload);
    const timeoutS = Math.min(TIMEOUT_S_MAX, Math.max(TIMEOUT_S_MIN, HANGS_AFTER * expectedS));
    const { scale } = plan;
    const options = { system, workload, spec, scale, round, dir, timeoutS, interrupted };
    const run = await runOne(options);
    // One that hung is no measure of the next: its limit would be longer each time.
    if (run.invalid === null) {
      this.#estimate.saw(system.name, workload, (performance.now() - startedMs) / 1000);
    }
    return run;
  }

  /** What the newest run tells of those before it in the cell: a recording was replayed. */
  #amend(runs: readonly Run[]): void {
    const { store } = this.#o;
    const newest = runs.at(-1);
    const source = this.#systems.find(({ name }) => name === newest?.system)?.replays ?? null;
    const system = this.#systems.find(({ name }) => name === source);
    const run = runs.find((one) => one.system === source);
    const stored = store.results.runs.findLast((one) => one.system === source);
    if (system === undefined || run === undefined || stored === undefined) return;
    store.amend(stored, judge(system, run, runs, this.#systems));
  }

  /** What it recorded will be replayed next: until then it does not count, but is no failure. */
  #isPending(system: System, { invalid }: Run): boolean {
    return invalid === null && this.#systems.some(({ replays }) => replays === system.name);
  }

  /** Folders that nobody in this cell will look at any more: logs can have gigabytes. */
  #discard(system: System, dir: string): void {
    const isKept = this.#systems.some(({ replays }) => replays === system.name);
    const over = [isKept ? null : system.name, system.replays].filter((name) => name !== null);
    for (const name of over) rmSync(join(dir, name), { recursive: true, force: true });
  }

  #begin(cell: Cell, system: System): void {
    const { plan, watcher } = this.#o;
    const total = this.#cells.reduce((sum, { systems }) => sum + systems.length, 0);
    const what = `${cell.workload.name} on ${system.name}, round ${cell.round + 1} of ${plan.rounds}`;
    watcher.begin(what, this.#done, total, this.#leftS(cell, system));
  }

  /** Seconds expected for this run and all after it. */
  #leftS(cell: Cell, system: System): number {
    const at = this.#cells.indexOf(cell);
    const rest = cell.systems.slice(cell.systems.indexOf(system));
    return [{ ...cell, systems: rest }, ...this.#cells.slice(at + 1)]
      .flatMap(({ workload, systems }) =>
        systems.map((one) => this.#estimate.of(one.name, workload)),
      )
      .reduce((sum, one) => sum + one, 0);
  }
}
