// SPDX-License-Identifier: Apache-2.0
/**
 * A log into the ring of a replaying QEMU: step 6 where there is no peer and so no courier.
 * Batch after batch, each when the ring has room for it.
 */
import type { ExitRing } from '../../native/kvm-exit-log/index.ts';
import type { Batch } from '../log/batch.ts';
import type { FirstBatch } from '../log/entrance.ts';

export interface FeedOptions {
  readonly ring: Pick<ExitRing, 'fill' | 'onNotify'>;
  /** The log, from the file of the entrance or an earlier one. */
  readonly log: AsyncIterable<{ readonly batch: Batch }>;
  /** What is fed first; null: all that the log has. */
  readonly from: FirstBatch | null;
  readonly onFed?: (batch: Batch) => void;
  /** QEMU has moved, or may have: called often. */
  readonly onNotify?: () => void;
}

/** QEMU tells nobody of some things. */
const POLL_MS = 20;

export class Feed {
  /** Resolves when the log is in the ring, or after `close`; rejects as the log does. */
  readonly done: Promise<void>;
  readonly #options: FeedOptions;
  readonly #poll: NodeJS.Timeout;
  #wake: (() => void) | null = null;
  #closed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    options.ring.onNotify(() => this.#notified());
    this.#poll = setInterval(() => this.#notified(), POLL_MS);
    this.done = this.#run();
  }

  /** Nothing is fed any more; before the ring goes. Idempotent. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#poll);
    this.#wake?.();
  }

  async #run(): Promise<void> {
    const { ring, log, from, onFed } = this.#options;
    for await (const { batch } of log) {
      const { frame, header } = batch;
      if (from !== null && header.recordBase < from.recordBase) continue;
      while (!this.#closed && !ring.fill(frame, 0, frame.length)) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#closed) return;
      onFed?.(batch);
    }
  }

  #notified(): void {
    this.#wake?.();
    this.#wake = null;
    if (!this.#closed) this.#options.onNotify?.();
  }
}
