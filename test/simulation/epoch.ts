// SPDX-License-Identifier: Apache-2.0
/**
 * One epoch: the execution between two seals, and how far its log has come.
 *
 *     open ──► sealed ──► sent ──► acked ──► released
 *
 * An epoch only moves forward and never skips a state; anything else is a
 * programmer's error. A log without a backup ends at `sealed` (→ released when
 * detached).
 */
import { assert } from '../../src/base/assert.ts';
import type { Position } from '../../src/base/position.ts';

export type EpochState = 'open' | 'sealed' | 'sent' | 'acked' | 'released';

/** What a seal found in the batch that closes an epoch. */
export interface SealedBatch {
  /** Batches from 0, no gaps. */
  readonly sequence: bigint;
  /** Ordinal after its last record: `commit` to release all of it. */
  readonly recordEnd: bigint;
  /** The log is complete up to here. */
  readonly horizon: Position;
  readonly records: number;
  /** NET_OUT, CHAR_OUT and END records in it. */
  readonly outputs: number;
  /** Bytes of its frame, on the wire and in the segment. */
  readonly bytes: number;
}

const NEXT: Readonly<Record<EpochState, readonly EpochState[]>> = {
  open: ['sealed'],
  sealed: ['sent', 'released'],
  sent: ['acked', 'released'],
  acked: ['released'],
  released: [],
};

export class Epoch {
  readonly number: bigint;
  #state: EpochState = 'open';
  #batch: SealedBatch | null = null;
  /** True when the local segment has the batch (write done). */
  logged = false;

  constructor(number: bigint) {
    this.number = number;
  }

  get state(): EpochState {
    return this.#state;
  }

  get batch(): SealedBatch {
    assert(this.#batch !== null, `epoch ${this.number} is sealed`);
    return this.#batch;
  }

  seal(batch: SealedBatch): void {
    this.#move('sealed');
    this.#batch = batch;
  }

  send(): void {
    this.#move('sent');
  }

  ack(): void {
    this.#move('acked');
  }

  /**
   * Its outputs may leave.
   * @param detached no backup exists and this side holds the fence: only then
   *   may an epoch skip the ack
   */
  release(detached: boolean): void {
    assert(
      detached || this.#state === 'acked',
      `epoch ${this.number} is released in state ${this.#state} without an ack`,
    );
    this.#move('released');
  }

  #move(to: EpochState): void {
    assert(
      NEXT[this.#state].includes(to),
      `epoch ${this.number} cannot go from ${this.#state} to ${to}`,
    );
    this.#state = to;
  }
}
