// SPDX-License-Identifier: Apache-2.0
/**
 * Deleting recordings by count, age and size.
 *
 * Promise: only a whole recording is deleted, only the one that was indexed, only
 * while nobody records or replays it, and never a file that is not of it. A
 * recording vanishes from its place at once (a rename) and is then deleted, so that
 * nobody ever opens half of one.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { describeHolders, type FileLock } from '../base/file-lock.ts';
import { openRecording, recordingPaths } from '../recording/folder.ts';
import { claimRecording } from '../recording/lock.ts';
import type { Run } from './catalog.ts';

export interface Criteria {
  /** How many of the newest to keep. */
  readonly keep: number | null;
  /** Delete those that began longer ago. */
  readonly olderThanMs: number | null;
  /** Delete the oldest until all of them use no more bytes on disk. */
  readonly totalBytesMax: number | null;
}

/** Why a recording was not deleted. */
export interface Refusal {
  /** Somebody records, replays or packs it: the next prune will do. */
  readonly inUse: boolean;
  readonly because: string;
}

/** A recording that was to go, and whether it went. */
export interface Pruned {
  readonly run: Run;
  /** The criterion that condemned it. */
  readonly why: string;
  /** Null: it was deleted. */
  readonly refusal: Refusal | null;
}

/**
 * Decides, oldest first, and deletes with `remove`. One that cannot be deleted still
 * counts: for its size another one goes, if there is one.
 * @param runs newest first; those that are missing are no concern of it
 */
export function prune(
  runs: readonly Run[],
  criteria: Criteria,
  nowMs: number,
  remove: (run: Run) => Refusal | null,
): Pruned[] {
  const present = runs.filter(({ state }) => state !== 'missing');
  let total = present.reduce((sum, { diskBytes }) => sum + diskBytes, 0);
  const outcomes: Pruned[] = [];
  for (let at = present.length - 1; at >= 0; at -= 1) {
    const run = present[at];
    const why = run === undefined ? null : reasonFor(run, at, total, criteria, nowMs);
    if (run === undefined || why === null) continue;
    const refusal = remove(run);
    if (refusal === null) total -= run.diskBytes;
    outcomes.push({ run, why, refusal });
  }
  return outcomes;
}

/** Why a recording is to go, or null. @param rank 0 for the newest */
function reasonFor(
  run: Run,
  rank: number,
  total: number,
  { keep, olderThanMs, totalBytesMax }: Criteria,
  nowMs: number,
): string | null {
  if (keep !== null && rank >= keep) return '--keep';
  const ageMs = run.created === null ? 0 : nowMs - Date.parse(run.created);
  if (olderThanMs !== null && ageMs > olderThanMs) return '--older-than';
  if (totalBytesMax !== null && total > totalBytesMax) return '--larger-than';
  return null;
}

/** What a recording consists of: anything else in its folder is somebody's own. */
const MEMBERS = new Set([
  'VM.toml',
  'vm.json',
  'kernel',
  'initrd',
  'firmware',
  'disks',
  'log',
  'console.log',
  'end.json',
  'checkpoints',
  'retained.json',
]);

/**
 * Deletes one recording, if that may be done.
 * @param dryRun look, and leave it
 * @returns null, or why it was not deleted
 */
export function removeRecording(run: Run, dryRun: boolean): Refusal | null {
  const refuse = (because: string, inUse = false): Refusal => ({ inUse, because });
  const paths = recordingPaths(run.dir);
  if (!existsSync(paths.manifest)) return refuse('it has no vm.json: remove it by hand');
  let lock: FileLock | null = null;
  try {
    const claim = claimRecording(paths);
    if (!('release' in claim)) return refuse(`in use by ${describeHolders(claim)}`, true);
    lock = claim;
    const vmId = vmIdOf(run.dir);
    if (vmId !== null && vmId !== run.vmId) {
      return refuse('another recording is in its place now: prune again');
    }
    const others = readdirSync(run.dir).filter((name) => !MEMBERS.has(name.replace(/\.new$/, '')));
    if (others.length > 0) {
      const some = others.slice(0, 3).join(', ');
      return refuse(`there is more in it than a recording (${some}): move that away`);
    }
    if (dryRun) return null;
    const doomed = join(dirname(run.dir), `${doomedPrefix(run.dir)}${process.pid}`);
    renameSync(run.dir, doomed);
    rmSync(doomed, { recursive: true, force: true });
    return null;
  } catch (error) {
    return refuse(messageOf(error));
  } finally {
    lock?.release();
  }
}

/** Null when its files are damaged, which is no reason to keep it. */
function vmIdOf(dir: string): string | null {
  try {
    return openRecording(dir).manifest.vm_id;
  } catch {
    return null;
  }
}

function doomedPrefix(dir: string): string {
  return `.${basename(dir)}.pruned-`;
}

/** What a prune that was killed has left of a recording. */
export function removeLeftovers(dir: string): void {
  const parent = dirname(dir);
  if (!existsSync(parent)) return;
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(doomedPrefix(dir))) continue;
    rmSync(join(parent, name), { recursive: true, force: true });
  }
}
