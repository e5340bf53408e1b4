// SPDX-License-Identifier: Apache-2.0
/** Replays of one recording from its checkpoints, by the built command. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
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
  return checkpointsOf(recording).map((icount) => manifestOf(recording, icount).pause_ns / 1e6);
}

export interface Manifest {
  readonly kind: 'full' | 'incremental';
  readonly bytes: number;
  readonly pause_ns: number;
}

export function manifestOf(recording: string, icount: string): Manifest {
  const file = join(recording, 'checkpoints', icount, 'manifest.json');
  return JSON.parse(readFileSync(file, 'utf8')) as Manifest;
}

/** Makes a checkpoint one of another format, as its manifest says. */
export function rewriteFormat(recording: string, icount: string, format: number): void {
  const file = join(recording, 'checkpoints', icount, 'manifest.json');
  const [body = ''] = readFileSync(file, 'utf8').split(',"checksum"');
  const text = body.replace(/"format":\d+/, `"format":${format}`);
  writeFileSync(file, `${text},"checksum":"${crc32(text).toString(16).padStart(8, '0')}"}\n`);
}

/** What campaigns say of all: how many, how large on average, for how long the guest stood. */
export function checkpointFacts(recording: string): Record<string, number> {
  const all = checkpointsOf(recording).map((icount) => manifestOf(recording, icount));
  const mean = (list: readonly number[]): number =>
    list.reduce((sum, value) => sum + value, 0) / Math.max(1, list.length);
  const mib = (kind: Manifest['kind']): number =>
    Number(
      (mean(all.filter((one) => one.kind === kind).map(({ bytes }) => bytes)) / 2 ** 20).toFixed(2),
    );
  const pauses = all.map(({ pause_ns }) => pause_ns / 1e6);
  return {
    checkpoints_full: all.filter(({ kind }) => kind === 'full').length,
    checkpoints_incremental: all.filter(({ kind }) => kind === 'incremental').length,
    full_mib_mean: mib('full'),
    incremental_mib_mean: mib('incremental'),
    pause_ms_mean: Number(mean(pauses).toFixed(2)),
    pause_ms_max: Number(Math.max(0, ...pauses).toFixed(2)),
  };
}

/** Pages in sequence in a checkpoint's file "ram" (qemu/exitlog/cut/checkpoint.h). */
export interface RamRun {
  /** Offset in the file at which what is stored begins. */
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

/** All of it, from power-on. */
export function verifyWhole(recording: string): Promise<FromCheckpoint> {
  return verifyFrom(recording, '0', {}, null);
}

/** @param expected where the replay has to start; null: at power-on */
export async function verifyFrom(
  recording: string,
  icount: string,
  env: Readonly<Record<string, string>> = {},
  expected: string | null = icount,
): Promise<FromCheckpoint> {
  const words = ['replay', recording, '--from', icount, '--verify', '--json'];
  const { code, stdout, stderr } = await run(words, { timeoutMs: 1_200_000, env });
  if (code !== 0) return { icount, ok: false, failure: stderr, wallS: 0 };
  const json = JSON.parse(stdout) as Record<string, unknown>;
  const end = JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8')) as { digest: string };
  const started = json.started_at === null ? null : String(json.started_at);
  const ok = json.verified === true && json.digest === end.digest && started === expected;
  return { icount, ok, failure: ok ? null : stdout, wallS: Number(json.wall_s) };
}
