// SPDX-License-Identifier: Apache-2.0
/** Plays `understudy demo --json`: the pair, its client and a fault, as a user has it. */
import { run } from './command.ts';

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

/** @returns json: null when it could not play to its end (stderr says why) */
export async function playDemo(
  words: readonly string[],
): Promise<{ code: number | null; json: DemoJson | null; stderr: string }> {
  const { code, stdout, stderr } = await run(['demo', '--json', ...words], { timeoutMs: 300_000 });
  let json: DemoJson | null = null;
  try {
    const value = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as object;
    if ('survived' in value) json = value as DemoJson;
  } catch {
    // it printed none
  }
  return { code, json, stderr };
}
