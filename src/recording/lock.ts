// SPDX-License-Identifier: Apache-2.0
/**
 * Who uses a recording now. A process that reads one for long (replay, pack) or writes it
 * (record) holds it; `prune` deletes only what nobody holds.
 *
 * The locks are the kernel's (file-lock.ts) on files that are there anyway, so a
 * recording is not written to by being read, and one that died holds nothing:
 *   vm.json      shared by every user; exclusive to delete it
 *   console.log  exclusive for its recorder, which is how it is told from a reader
 * Where a file system has no locks a recording can be used all the same, and `prune`
 * deletes none.
 */
import { existsSync } from 'node:fs';
import { errorCodeOf, UnderstudyError } from '../base/errors.ts';
import {
  describeHolders,
  type FileLock,
  type Holder,
  holdersOf,
  tryLock,
} from '../base/file-lock.ts';
import type { RecordingPaths } from './folder.ts';

export interface RecordingHold {
  /** Idempotent. */
  release(): void;
}

/**
 * Keeps a recording from being pruned until `release`.
 * @throws UnderstudyError not-a-recording when there is none, or no longer;
 *   recording-in-use when it is being pruned
 */
export function holdRecording(paths: RecordingPaths): RecordingHold {
  if (!existsSync(paths.manifest)) {
    throw new UnderstudyError(
      'not-a-recording',
      `${paths.dir} is not a recording: it has no vm.json (\`understudy record\` makes one)`,
    );
  }
  const lock = lockIfPossible(paths.manifest, 'shared');
  if (lock === 'impossible') return { release() {} };
  if (lock?.isCurrent()) return lock;
  lock?.release();
  throw new UnderstudyError(
    'recording-in-use',
    `${paths.dir} is being deleted by ${describeHolders(lock === null ? holdersOf(paths.manifest) : [])}`,
  );
}

/** As holdRecording, for the process that writes it. */
export function holdAsRecorder(paths: RecordingPaths): RecordingHold {
  const hold = holdRecording(paths);
  // Null only while somebody looks at this very moment whether it is recorded.
  const writing = lockIfPossible(paths.console, 'exclusive');
  return {
    release() {
      if (writing !== null && writing !== 'impossible') writing.release();
      hold.release();
    },
  };
}

/** @returns null when somebody else has it; impossible: this file system has no locks */
export function lockIfPossible(
  path: string,
  mode: 'exclusive' | 'shared',
): FileLock | 'impossible' | null {
  try {
    return tryLock(path, 'r', mode);
  } catch (error) {
    if (errorCodeOf(error) === 'host-unsupported') return 'impossible';
    throw error;
  }
}

/** Whether a recorder writes it at this moment. */
export function isBeingRecorded(paths: RecordingPaths): boolean {
  if (existsSync(paths.end) || !existsSync(paths.console)) return false;
  const lock = lockIfPossible(paths.console, 'shared');
  if (lock !== null && lock !== 'impossible') lock.release();
  return lock === null;
}

/**
 * A recording for oneself alone, to delete it; or who has it.
 * @throws UnderstudyError file-io when vm.json cannot be opened for writing: what one
 *   may not write one may not delete either
 */
export function claimRecording(paths: RecordingPaths): FileLock | readonly Holder[] {
  const lock = tryLock(paths.manifest, 'r+');
  if (lock === null) return holdersOf(paths.manifest);
  if (lock.isCurrent()) return lock;
  lock.release();
  return [];
}
