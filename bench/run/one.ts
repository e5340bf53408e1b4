// SPDX-License-Identifier: Apache-2.0
/** One run: one workload on one system, from an empty folder until nothing of it is left. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../../src/base/errors.ts';
import type { Run } from '../results.ts';
import {
  type Harvest,
  NOTHING,
  type RunningVm,
  type System,
  type VmSpec,
} from '../systems/system.ts';
import type { Measured, Scale, Workload } from '../workloads/workload.ts';
import { isMute } from './plan.ts';
import { Sampler } from './sampler.ts';

export interface OneOptions {
  readonly system: System;
  readonly workload: Workload;
  readonly spec: VmSpec;
  readonly scale: Scale;
  readonly round: number;
  /** Folder of this round of this workload; each system has one of its own in it. */
  readonly dir: string;
  readonly timeoutS: number;
  readonly interrupted: AbortSignal;
}

const NO_FIGURES: Measured = { values: {} };

/**
 * Never rejects for what the system or the guest did: that makes the run invalid.
 * @throws UnderstudyError interrupted
 */
export async function runOne(options: OneOptions): Promise<Run> {
  const { system, workload, round, interrupted } = options;
  const startedMs = performance.now();
  const started_at = new Date().toISOString();
  let measured = NO_FIGURES;
  let sampled: Record<string, number> = {};
  let harvest: Harvest = NOTHING;
  let invalid: string | null = null;
  let seconds = 0;
  try {
    const dir = join(options.dir, system.name);
    mkdirSync(dir, { recursive: true });
    const vm = await system.start(dir, options.spec);
    const sampler = new Sampler(vm);
    try {
      measured = await within(options, vm, measureAll(options, vm));
    } finally {
      seconds = (performance.now() - vm.startedMs) / 1000;
      await vm.close();
      sampled = await sampler.stop(measured.parts);
    }
    harvest = await system.harvest(dir);
    invalid = harvest.problem;
  } catch (error) {
    if (interrupted.aborted) throw interruption();
    invalid = messageOf(error).replace(/\s+/g, ' ').trim();
  }
  const bad = Object.entries(measured.values).find(([, value]) => !(value > 0));
  if (bad !== undefined) invalid ??= `its figure ${bad[0]} is ${bad[1]}`;
  return {
    workload: workload.name,
    system: system.name,
    round,
    started_at,
    seconds: rounded(seconds === 0 ? (performance.now() - startedMs) / 1000 : seconds),
    values: map(measured.values, rounded),
    facts: map({ ...sampled, ...measured.facts, ...harvest.facts }, rounded),
    verification:
      harvest.verification === null && !system.verified
        ? null
        : { baseline: false, replay: null, disks: null, ...harvest.verification },
    invalid,
  };
}

/** Until the guest has powered off by itself, and all of the system's processes have ended. */
async function measureAll(
  { system, workload, scale }: OneOptions,
  vm: RunningVm,
): Promise<Measured> {
  const measured = isMute(system, workload) ? NO_FIGURES : await workload.measure(vm, scale);
  await vm.ended;
  return measured;
}

function within<T>(options: OneOptions, vm: RunningVm, work: Promise<T>): Promise<T> {
  const { timeoutS, interrupted } = options;
  work.catch(() => {}); // it may lose
  return new Promise<T>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer); // the work may never end
      reject(interruption());
    };
    const timer = setTimeout(() => {
      const said = vm.console().slice(-200).trim();
      reject(new Error(`not done within ${Math.round(timeoutS)} s; its console ends: ${said}`));
    }, timeoutS * 1000);
    interrupted.addEventListener('abort', stop, { once: true });
    if (interrupted.aborted) stop();
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      interrupted.removeEventListener('abort', stop);
    });
    // A process that ends badly in the middle: what waits for the guest would wait on.
    vm.ended.catch(reject);
  });
}

export function interruption(): UnderstudyError {
  return new UnderstudyError('interrupted', 'the benchmarks were interrupted');
}

/** Six digits: more are noise, and make the file hard to read. */
function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(6));
}

function map(
  values: Readonly<Record<string, number>>,
  change: (value: number) => number,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, change(value)] as const),
  );
}
