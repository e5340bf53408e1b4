// SPDX-License-Identifier: Apache-2.0
/** A log in the simulation: writes take time and can fail, and what is written is one log. */
import { assert } from '../../src/base/assert.ts';
import { comparePositions } from '../../src/base/position.ts';
import { type BatchHeader, readBatchHeader } from '../../src/log/batch.ts';
import { checkFrame } from '../../src/log/frame.ts';
import { expectChain, expectSequence } from '../../src/log/segment.ts';
import type { BatchLog } from '../../src/replica/ports.ts';
import type { Host } from './world.ts';

/** A side's log: what is in it survives the process, not the machine. It is one, through terms. */
export class SimLog implements BatchLog {
  readonly host: Host;
  /** Ordinal after the last record that is stored. */
  recordEnd = 0n;
  sequences: bigint[] = [];
  /** The write with this index fails, and all after it. */
  failAt = Number.POSITIVE_INFINITY;
  beforeWrite: () => void = () => {};
  afterWrite: () => void = () => {};
  #last: BatchHeader | null = null;
  #writes = 0;
  #busyUntil = 0;

  constructor(host: Host) {
    this.host = host;
  }

  /** @param frames whole batches, one behind the other */
  append(frames: Buffer, done: (error: Error | null) => void): void {
    const { world } = this.host;
    const headers = batchesIn(frames);
    const index = this.#writes++;
    // Writes end in the order they began.
    const at = Math.max(this.#busyUntil, world.now + world.random.next() * 0.5);
    this.#busyUntil = at;
    this.host.after(at - world.now, () => {
      this.beforeWrite();
      if (!this.host.alive) return;
      if (index >= this.failAt) {
        done(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
        return;
      }
      for (const header of headers) this.#put(header);
      this.afterWrite();
      if (this.host.alive) done(null);
    });
  }

  close(): void {}

  /** @throws CorruptLogError where the log of a pair would not be one */
  #put(header: BatchHeader): void {
    const last = this.#last;
    if (last !== null) {
      expectSequence(last.sequence + 1n, header.sequence);
      expectChain(last, header);
      assert(header.dataBase === last.dataBase + BigInt(last.dataBytes), 'payload runs on');
      assert(comparePositions(header.horizon, last.horizon) >= 0, 'the horizon runs on');
    }
    this.#last = header;
    this.recordEnd = header.recordEnd;
    this.sequences.push(header.sequence);
  }
}

/** @throws CorruptLogError */
function batchesIn(bytes: Buffer): BatchHeader[] {
  const headers: BatchHeader[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = 16 + bytes.readUInt32LE(at + 8);
    checkFrame(bytes, at, length);
    headers.push(readBatchHeader(bytes, at));
    at += length;
  }
  return headers;
}
