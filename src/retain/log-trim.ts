// SPDX-License-Identifier: Apache-2.0
/**
 * Bounds a daemon's log on disk: the oldest segments go while new ones come. Only
 * whole segments, the oldest first, so that what is left is without a gap whenever
 * one looks. Nobody who reads that log is waited for: a backup that joins is sent the log
 * from our files, and joins again when a segment went before it was sent.
 */
import { unlink } from 'node:fs/promises';
import { listSegments, SEGMENT_BYTES_MAX } from '../log/segment.ts';

const LOOK_MS = 1000;
/** Only whole ones are deleted, so they are small against the whole log. */
const SEGMENTS_PER_LOG = 8;

/** How large segments may be, in a log of at most `bytesMax`. */
export function segmentBytesFor(bytesMax: number): number {
  return Math.min(SEGMENT_BYTES_MAX, Math.floor(bytesMax / SEGMENTS_PER_LOG));
}

/**
 * Deletes the oldest segments of a log beyond `bytesMax`, as if all were of full size.
 * @returns how many
 */
export async function trimLog(dir: string, bytesMax: number): Promise<number> {
  const keep = Math.floor(bytesMax / segmentBytesFor(bytesMax)); // at least SEGMENTS_PER_LOG
  const oldest = (await listSegments(dir)).slice(0, -keep);
  for (const { file } of oldest) await unlink(file);
  return oldest.length;
}

export class LogRetention {
  readonly #bytesMax: number;
  readonly #onError: (error: unknown) => void;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  /** @param onError told the first failure of each log; its segments then stay */
  constructor(bytesMax: number, onError: (error: unknown) => void) {
    this.#bytesMax = bytesMax;
    this.#onError = onError;
  }

  /** From now on, until close(). Again for a log that a backup begins again: once is enough. */
  keep(dir: string): void {
    if (this.#timers.has(dir)) return;
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      trimLog(dir, this.#bytesMax)
        .catch((error: unknown) => {
          clearInterval(timer);
          this.#onError(error);
        })
        .finally(() => {
          busy = false;
        });
    }, LOOK_MS);
    timer.unref();
    this.#timers.set(dir, timer);
  }

  /** That log is deleted as a whole. */
  forget(dir: string): void {
    clearInterval(this.#timers.get(dir));
    this.#timers.delete(dir);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearInterval(timer);
    this.#timers.clear();
  }
}
