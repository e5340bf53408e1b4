// SPDX-License-Identifier: Apache-2.0
/** A run of the harness from its plan to its results, whatever ends it. */
import { execFileSync } from 'node:child_process';
import { UnderstudyError } from '../../src/base/errors.ts';
import { makeNetwork } from '../../src/lab/netns.ts';
import { conduct } from '../experiments/experiment.ts';
import type { BenchResults } from '../results.ts';
import { referenceGuest } from '../systems/vm.ts';
import { hostFacts } from './host.ts';
import type { Absences, Plan } from './plan.ts';
import { Runner, type Watcher } from './runner.ts';
import { makeResultsDir, ResultsStore, resultsId } from './store.ts';

export interface BenchRun {
  readonly dir: string;
  readonly results: BenchResults;
  /** What ended it early; null: it is complete. */
  readonly failure: unknown;
}

export interface BenchRunOptions {
  readonly plan: Plan;
  readonly absent: Absences;
  /** Null: a folder of its own among the kept results. */
  readonly out: string | null;
  readonly watcher: Watcher;
  readonly interrupted: AbortSignal;
}

/**
 * The host was checked.
 * @throws UnderstudyError qemu-missing | output-exists before anything runs; what happens later
 * is in `failure`, and what was measured before it in the results
 */
export async function runBench(options: BenchRunOptions): Promise<BenchRun> {
  const { plan, absent, watcher, interrupted } = options;
  const { scale } = plan;
  const host = await hostFacts();
  const startedAt = new Date();
  const id = resultsId(startedAt, host.commit);
  const store = new ResultsStore(makeResultsDir(options.out, id), {
    id,
    quick: scale === 'quick',
    rounds: plan.rounds,
    started_at: startedAt.toISOString(),
    host,
    systems: plan.systems.map(({ name, title, baseline, verified, variantOf }) => ({
      name,
      title,
      baseline,
      verified,
      ...(variantOf === undefined ? {} : { variantOf }),
    })),
    workloads: plan.workloads.map(({ name, title, figures }) => ({ name, title, figures })),
  });
  let failure: unknown = null;
  try {
    await new Runner({ plan, absent, store, watcher, interrupted }).run();
    for (const kind of plan.experiments) {
      watcher.note(`experiment ${kind.name}: ${kind.title}`);
      const { runs } = store.results;
      const note = (text: string): void => watcher.note(`  ${text}`);
      store.addExperiment(await conduct(kind, { scale, interrupted, runs, note }));
      interrupted.throwIfAborted();
    }
    store.finish();
  } catch (error) {
    failure = error;
  }
  return { dir: store.dir, results: store.results, failure };
}

/**
 * What every run needs, tried once before the first one.
 * @throws UnderstudyError host-unsupported
 */
export function checkHost(): void {
  if (process.getuid?.() !== 0) {
    throw new UnderstudyError(
      'host-unsupported',
      'the benchmarks make network namespaces and taps, which needs root: run it again as root',
    );
  }
  try {
    execFileSync('ip', ['-V'], { stdio: 'ignore' });
  } catch (cause) {
    throw new UnderstudyError(
      'host-unsupported',
      'the benchmarks need the ip command (package iproute2)',
      { cause },
    );
  }
  referenceGuest();
  makeNetwork().remove();
}
