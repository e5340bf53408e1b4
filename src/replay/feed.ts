// SPDX-License-Identifier: Apache-2.0
/**
 * Step 6 of the data path: received batches into QEMU's ring, in order, as it
 * has room. What does not fit waits here; above a limit the peer has to wait too.
 */
import type { Ring } from '../daemon/ports.ts';

const QUEUE_BYTES_HIGH = 64 * 1024 * 1024;
const QUEUE_BYTES_LOW = 16 * 1024 * 1024;

export interface FeedOptions {
  readonly ring: Ring;
  /** Back-pressure: stop, or go on, reading from the peer. */
  readonly pressure: (on: boolean) => void;
  readonly bytesHigh?: number;
  readonly bytesLow?: number;
}

export class ReplayFeed {
  readonly #o: FeedOptions;
  #queue: Buffer[] = [];
  #next = 0;
  #bytes = 0;
  #pressed = false;

  constructor(options: FeedOptions) {
    this.#o = options;
  }

  /** True when the ring has got everything. */
  get empty(): boolean {
    return this.#next === this.#queue.length;
  }

  get queuedBytes(): number {
    return this.#bytes;
  }

  get pressed(): boolean {
    return this.#pressed;
  }

  push(batch: Buffer): void {
    this.#queue.push(batch);
    this.#bytes += batch.length;
    this.pump();
  }

  /** To be called when the ring says that it has room. */
  pump(): void {
    for (;;) {
      const batch = this.#queue[this.#next];
      if (batch === undefined || !this.#o.ring.fill(batch, 0, batch.length)) break;
      this.#next += 1;
      this.#bytes -= batch.length;
    }
    if (this.#next === this.#queue.length || this.#next > 1024) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    this.#press();
  }

  #press(): void {
    const on = this.#pressed
      ? this.#bytes > (this.#o.bytesLow ?? QUEUE_BYTES_LOW)
      : this.#bytes > (this.#o.bytesHigh ?? QUEUE_BYTES_HIGH);
    if (on === this.#pressed) return;
    this.#pressed = on;
    this.#o.pressure(on);
  }
}
