// SPDX-License-Identifier: Apache-2.0
/**
 * How much of console.log each segment of the log covers: what goes with it. Counted
 * when a segment is written to no more, so that little is left to read when it goes.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { charOut } from '../../native/kvm-exit-log/index.ts';
import { Batch } from '../log/batch.ts';
import { PREFIX_BYTES } from '../log/frame.ts';
import { segmentName } from '../log/segment.ts';
import type { Recording } from '../recording/folder.ts';

export class ConsoleBytes {
  readonly #recording: Recording;
  readonly #counted = new Map<number, number>();
  /** Bytes of console.log before segment `#first`. */
  #before: number;
  #first: number;

  constructor(recording: Recording) {
    this.#recording = recording;
    this.#before = recording.retained?.consoleFrom ?? 0;
    this.#first = recording.retained?.fromSegment ?? 1;
  }

  /** Console bytes of a segment that has been counted; 0: not yet. */
  of(segment: number): number {
    return this.#counted.get(segment) ?? 0;
  }

  /** Counts those before `last`. @returns what is left of console.log, in bytes */
  async uncounted(last: number): Promise<number> {
    const counted = await this.before(last);
    const { size } = await stat(this.#recording.paths.console).catch(() => ({ size: 0 }));
    return Math.max(0, size - counted);
  }

  /** Bytes of the console that segments before this one cover. */
  async before(segment: number): Promise<number> {
    let bytes = this.#before;
    for (let index = this.#first; index < segment; index += 1) {
      if (!this.#counted.has(index)) this.#counted.set(index, await this.#count(index));
      bytes += this.of(index);
    }
    return bytes;
  }

  /** The log begins with this segment from now on. */
  begin(segment: number, before: number): void {
    this.#first = segment;
    this.#before = before;
    for (const index of this.#counted.keys()) if (index < segment) this.#counted.delete(index);
  }

  async #count(index: number): Promise<number> {
    const buf = await readFile(join(this.#recording.paths.log, segmentName(index)));
    let bytes = 0;
    let seen = 0;
    for (let offset = PREFIX_BYTES + buf.readUInt32LE(8); offset < buf.length; ) {
      const batch = Batch.open(buf, offset, buf.length - offset);
      bytes += charOut(batch.frame, 0, batch.frame.length).length;
      offset += batch.bytes;
      // A guest waits for who looks after its room meanwhile.
      seen += 1;
      if (seen % 256 === 0) await new Promise(setImmediate);
    }
    return bytes;
  }
}
