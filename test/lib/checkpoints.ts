// SPDX-License-Identifier: Apache-2.0
/** Replays of one recording from its checkpoints, by the built command. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.ts';

export interface FromCheckpoint {
  readonly icount: string;
  readonly ok: boolean;
  readonly failure: string | null;
  readonly wallS: number;
}

export function checkpointsOf(recording: string): string[] {
  return readdirSync(join(recording, 'checkpoints'))
    .filter((name) => /^\d+$/.test(name))
    .sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
}

/** ms that the guest stood still for each, oldest first. */
export function pausesMs(recording: string): number[] {
  return checkpointsOf(recording).map((icount) => {
    const file = join(recording, 'checkpoints', icount, 'manifest.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { pause_ns: number }).pause_ns / 1e6;
  });
}

/** Pages in sequence in a checkpoint's file "ram" (qemu/exitlog/checkpoint.h). */
export interface RamRun {
  /** Of the file, where what is stored begins. */
  readonly at: number;
  readonly stored: number;
  /** Uncompressed. */
  readonly bytes: number;
}

const RAM_HEAD_BYTES = 16;
const RAM_BLOCK_BYTES = 264;
const RAM_RUN_BYTES = 24;

export function ramRuns(recording: string, icount: string): RamRun[] {
  const file = readFileSync(join(recording, 'checkpoints', icount, 'ram'));
  const pageBytes = file.readUInt32LE(8);
  const runs: RamRun[] = [];
  let at = RAM_HEAD_BYTES + RAM_BLOCK_BYTES * file.readUInt32LE(12);
  while (at < file.length) {
    const stored = file.readUInt32LE(at + 4);
    const bytes = Number(file.readBigUInt64LE(at + 16)) * pageBytes;
    at += RAM_RUN_BYTES;
    runs.push({ at, stored, bytes });
    at += stored;
  }
  return runs;
}

/** `count` of the list, the first and the last among them. */
export function spread<T>(list: readonly T[], count: number): T[] {
  if (list.length <= count) return [...list];
  return Array.from({ length: count }, (_, n) => {
    return list[Math.round((n * (list.length - 1)) / (count - 1))] as T;
  });
}

/**
 * Verifies the rest of the recording from each of `count` checkpoints: every digest and
 * output in the log, the digest at the end, the console, the disks.
 */
export async function verifyFromCheckpoints(
  recording: string,
  count: number,
  env: Readonly<Record<string, string>> = {},
): Promise<FromCheckpoint[]> {
  const results: FromCheckpoint[] = [];
  for (const icount of spread(checkpointsOf(recording), count)) {
    results.push(await verifyFrom(recording, icount, env));
  }
  return results;
}

async function verifyFrom(
  recording: string,
  icount: string,
  env: Readonly<Record<string, string>>,
): Promise<FromCheckpoint> {
  const words = ['replay', recording, '--from', icount, '--verify', '--json'];
  const { code, stdout, stderr } = await run(words, { timeoutMs: 1_200_000, env });
  if (code !== 0) return { icount, ok: false, failure: stderr, wallS: 0 };
  const json = JSON.parse(stdout) as Record<string, unknown>;
  const end = JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8')) as { digest: string };
  const ok =
    json.verified === true && json.digest === end.digest && String(json.started_at) === icount;
  return { icount, ok, failure: ok ? null : stdout, wallS: Number(json.wall_s) };
}
