// SPDX-License-Identifier: Apache-2.0
/**
 * Steps 2 and 3 of the data path: drain the ring, seal batches.
 *
 * The addon writes each batch, checksummed and framed, straight into a pooled
 * buffer; the same bytes then go to the wire and to the segment file, and the
 * buffer is reused when both are done with it.
 */
import { assert } from '../base/assert.ts';
import type { Clock, Ring, Timer } from '../daemon/ports.ts';
import { Epoch } from '../epochs/epoch.ts';
import type { SealPolicy } from '../epochs/policy.ts';

/** Largest frame: 4096 records, 1 MiB of data, header and prefix. */
const FRAME_BYTES_MAX = 4096 * 32 + 1024 * 1024 + 4096;
const SLAB_BYTES = 4 * 1024 * 1024;

interface Slab {
  readonly buffer: Buffer;
  used: number;
  /** Batches in it that the wire or the file still needs. */
  references: number;
}

/** Buffers for batches, reused slab by slab. */
export class SealPool {
  #current: Slab | null = null;
  readonly #free: Slab[] = [];

  /** A place with room for any batch. */
  place(): { buffer: Buffer; offset: number } {
    let slab = this.#current;
    if (slab === null || slab.buffer.length - slab.used < FRAME_BYTES_MAX) {
      if (slab !== null && slab.references === 0) {
        slab.used = 0;
      } else {
        slab = this.#free.pop() ?? {
          buffer: Buffer.allocUnsafeSlow(SLAB_BYTES),
          used: 0,
          references: 0,
        };
        slab.used = 0;
      }
      this.#current = slab;
    }
    return { buffer: slab.buffer, offset: slab.used };
  }

  /** Keeps `bytes` at the place given out last until `done` was called `users` times. */
  take(bytes: number, users: number): { frame: Buffer; done: () => void } {
    const slab = this.#current;
    assert(slab !== null && users > 0, 'a place was given out');
    const frame = slab.buffer.subarray(slab.used, slab.used + bytes);
    // Batches start on a word, as the addon reads and writes words.
    slab.used += (bytes + 7) & ~7;
    slab.references += 1;
    let left = users;
    return {
      frame,
      done: () => {
        left -= 1;
        assert(left >= 0, 'each user of a batch is done with it once');
        if (left > 0) return;
        slab.references -= 1;
        if (slab.references === 0 && slab !== this.#current) this.#free.push(slab);
      },
    };
  }
}

export interface Sealed {
  readonly epoch: Epoch;
  readonly frame: Buffer;
  readonly charOutBytes: number;
  /** To be called by each of the two users: wire and file. */
  readonly done: () => void;
}

export interface SealerOptions {
  readonly ring: Ring;
  readonly clock: Clock;
  readonly policy: SealPolicy;
  readonly vmId: Buffer;
  readonly term: number;
  /** Of the first batch; 0 at power-on. */
  readonly sequence: bigint;
  /** Checksum of the batch before the first; 0 at power-on. */
  readonly prevChecksum: bigint;
  readonly sealed: (sealed: Sealed) => void;
}

export class Sealer {
  readonly #o: SealerOptions;
  readonly #pool = new SealPool();
  #sequence: bigint;
  #prevChecksum: bigint;
  #timer: Timer | null = null;
  #held = false;
  #stopped = false;
  #sealedAtMs: number;
  #sealedIcount = 0n;
  #sealedVtimeNs = 0n;
  #oldestMs: number | null = null;
  #bytes = 0;
  #records = 0n;

  constructor(options: SealerOptions) {
    this.#o = options;
    this.#sequence = options.sequence;
    this.#prevChecksum = options.prevChecksum;
    this.#sealedAtMs = options.clock.nowMs();
  }

  /** Of the next batch. */
  get sequence(): bigint {
    return this.#sequence;
  }

  /** Bytes and records sealed by this sealer. */
  get bytes(): number {
    return this.#bytes;
  }

  get records(): bigint {
    return this.#records;
  }

  /** Back-pressure: while held the records stay in the ring, and QEMU waits when it is full. */
  hold(held: boolean): void {
    this.#held = held;
    if (!held) this.pump();
  }

  /** Seals what the policy wants sealed now; looks again by itself when it is due. */
  pump(): void {
    this.#timer?.cancel();
    this.#timer = null;
    while (!this.#held && !this.#stopped) {
      const waitMs = this.#dueInMs();
      if (waitMs === Number.POSITIVE_INFINITY) return;
      if (waitMs > 0) {
        this.#timer = this.#o.clock.after(Math.ceil(waitMs), () => this.pump());
        return;
      }
      if (!this.#seal(false)) return;
    }
  }

  /** Seals everything that is in the ring, whatever the policy says. */
  flush(): void {
    while (!this.#stopped && this.#seal(false)) {
      // until the ring is empty and its horizon sealed
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #dueInMs(): number {
    const records = this.#o.ring.outPending();
    const now = this.#o.clock.nowMs();
    if (records === 0) this.#oldestMs = null;
    else this.#oldestMs ??= now;
    // The position, as it moves with the horizon and is one read.
    const { position } = this.#o.ring.snapshot();
    return this.#o.policy.sealInMs({
      records,
      // Which of them are outputs only the addon could tell; a record is nearly
      // always an output or the input that an output answers.
      outputs: records,
      oldestRecordMs: this.#oldestMs === null ? 0 : now - this.#oldestMs,
      horizonMoved:
        position.icount !== this.#sealedIcount || position.vtimeNs !== this.#sealedVtimeNs,
      instructionsSinceSeal: Number(position.icount - this.#sealedIcount),
      sinceSealMs: now - this.#sealedAtMs,
    });
  }

  #seal(force: boolean): boolean {
    const { ring, clock, vmId, term } = this.#o;
    const { buffer, offset } = this.#pool.place();
    const bytes = ring.seal(buffer, offset, {
      vmId,
      term,
      epoch: this.#sequence,
      sequence: this.#sequence,
      sealedAtNs: clock.realtimeNs(),
      prevChecksum: this.#prevChecksum,
      force,
    });
    if (bytes === 0) return false;
    const last = ring.lastSeal();
    const epoch = new Epoch(this.#sequence);
    epoch.seal({
      sequence: this.#sequence,
      recordEnd: last.recordEnd,
      horizon: last.horizon,
      records: last.records,
      outputs: last.outputs,
      bytes,
    });
    this.#sequence += 1n;
    this.#prevChecksum = last.checksum;
    this.#sealedAtMs = clock.nowMs();
    this.#sealedIcount = last.horizon.icount;
    this.#sealedVtimeNs = last.horizon.vtimeNs;
    this.#oldestMs = null;
    this.#bytes += bytes;
    this.#records += BigInt(last.records);
    const { frame, done } = this.#pool.take(bytes, 2);
    this.#o.sealed({ epoch, frame, charOutBytes: last.charOutBytes, done });
    return true;
  }
}
