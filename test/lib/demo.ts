// SPDX-License-Identifier: Apache-2.0
/** Plays `understudy demo --json`: the pair, its client and a fault, as a user has it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Progress } from '#scripts/lib/progress.mjs';
import { testEtcd } from '#scripts/steps/test-etcd.mjs';
import type { PlayOptions } from './built-demo.ts';
import { run } from './command.ts';
import type { EtcdDemo } from './etcd-demo.ts';
import type { TwoCpus } from './two-cpus-demo.ts';

/** The object that it ends with. */
export interface DemoJson {
  readonly survived: boolean;
  readonly requests: number;
  readonly lost: number;
  readonly corrupted: number;
  readonly reconnects: number;
  readonly stall_ms: number;
  readonly detect_ms: number | null;
  readonly golive_ms: number | null;
  readonly drain_ms: number | null;
  readonly log_bytes_per_s: number;
  readonly disk_ok: boolean;
  readonly duplicated: number;
  readonly stall_before_ms: number;
  readonly lag_before_ms: number | null;
  readonly survivor: 'primary' | 'backup' | null;
  readonly seed: number;
  readonly fault_after_ms: number;
  readonly problem: string;
}

export interface Played {
  readonly code: number | null;
  /** Null when it could not play to its end: stderr says why. */
  readonly json: DemoJson | null;
  readonly stderr: string;
}

const TIMEOUT_MS = 300_000;

export async function playDemo(words: readonly string[]): Promise<Played> {
  return played(await run(['demo', '--json', ...words], { timeoutMs: TIMEOUT_MS }));
}

/** The same on two hosts of different CPUs. */
export function playTwoCpus(options: TwoCpus): Promise<Played> {
  return playProgram([], 'two-cpus-demo.ts', options);
}

/** The same with etcd as the arbiter. */
export async function playEtcd(options: EtcdDemo): Promise<Played> {
  await testEtcd(new Progress({ quietDone: true })); // in there nothing can be downloaded
  return playProgram(['unshare', '--net'], 'etcd-demo.ts', options);
}

function playProgram(
  prefix: readonly string[],
  name: string,
  options: PlayOptions,
): Promise<Played> {
  const program = join(import.meta.dirname, name);
  const words = [process.execPath, '--import', 'tsx', program, JSON.stringify(options)];
  const [file = '', ...rest] = [...prefix, ...words];
  return new Promise((resolve) => {
    execFile(file, rest, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve(played({ code, stdout, stderr }));
    });
  });
}

function played(outcome: Omit<Played, 'json'> & { readonly stdout: string }): Played {
  const { code, stdout, stderr } = outcome;
  let json: DemoJson | null = null;
  try {
    const value = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as object;
    if ('survived' in value) json = value as DemoJson;
  } catch {
    // it printed none
  }
  return { code, json, stderr };
}
