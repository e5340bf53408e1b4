// SPDX-License-Identifier: Apache-2.0
/** Runs of workloads that an experiment makes by itself. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Run } from '../results.ts';
import { runOne } from '../run/one.ts';
import type { System } from '../systems/system.ts';
import type { Workload } from '../workloads/workload.ts';
import type { ExperimentOptions } from './experiment.ts';

const TIMEOUT_S = 300;

/**
 * One run in a folder that is gone afterwards.
 * @throws Error when it does not count. @throws UnderstudyError interrupted
 */
export async function oneRun(
  system: System,
  workload: Workload,
  { scale, interrupted }: ExperimentOptions,
): Promise<Run> {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-bench-'));
  try {
    const spec = await workload.prepare(scale);
    const common = { scale, round: 0, dir, timeoutS: TIMEOUT_S, interrupted };
    const run = await runOne({ system, workload, spec, ...common });
    if (run.invalid !== null) throw new Error(run.invalid);
    return run;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * Measures what it can of a list.
 * @throws Error that names what failed, when all were tried. @throws UnderstudyError interrupted
 */
export async function eachOf<T>(
  list: readonly T[],
  interrupted: AbortSignal,
  name: (one: T) => string,
  measure: (one: T) => Promise<void>,
): Promise<void> {
  const failed: string[] = [];
  for (const one of list) {
    interrupted.throwIfAborted();
    try {
      await measure(one);
    } catch (error) {
      interrupted.throwIfAborted();
      failed.push(`${name(one)}: ${error instanceof Error ? error.message : error}`);
    }
  }
  if (failed.length > 0) throw new Error(failed.join('; '));
}

export function meanOf(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  return rounded(values.reduce((sum, value) => sum + value, 0) / values.length);
}

export function rounded(value: number): number {
  return Number(value.toPrecision(5));
}
