// SPDX-License-Identifier: Apache-2.0
/**
 * How long the epochs of a live VM are: as long as was asked for, or longer while the guest would
 * stand still too much for its cuts, or an epoch takes longer to come to the backup than
 * the next one to be made.
 *
 * A longer epoch costs more, but not by as much as it is longer: a page that is written twice is
 * shipped once, and what each cut takes is taken less often. So the length that would have
 * been enough for the last epochs is either enough, or nearer to it. Where none is enough
 * before `everyMsMax`, it stays there, and the guest waits for its backup (`inFlightMax`).
 *
 * Longer it gets at once, shorter by steps: a load that comes in bursts would else begin
 * each of them with epochs that are too short.
 */
import { assert } from '../base/assert.ts';
import type { CutNumbers } from './protocol.ts';

/** Counters that only grow, of one VM and one backup. */
export interface CutSample {
  readonly atMs: number;
  /** Epochs that were cut, and how long the guest stood still for them. */
  readonly cuts: number;
  readonly pauseMs: number;
  /** Epochs that the backup has, and how long they took to come, one after the other. */
  readonly transfers: number;
  readonly transferMs: number;
}

export interface CutInterval {
  /** Host time from one cut to the next, if nothing ends an epoch before. */
  readonly everyMs: number;
  /** What it is made for: `asked` is the wish. */
  readonly why: 'asked' | 'pause' | 'transfer';
  /** How long one of the last epochs took to come to the backup, on average; null: none has. */
  readonly transferMs: number | null;
}

/** The least time between two changes. */
const LOOK_MS = 100;
/** Shorter by this share at most. */
const STEP_DOWN = 0.25;
/** Finer is not worth telling. */
const FINEST_MS = 0.1;

export class CutPace {
  readonly #cut: CutNumbers;
  #first: CutSample | null = null;
  #last: CutSample | null = null;
  #interval: CutInterval;

  constructor(cut: CutNumbers) {
    const { stretch, everyMs } = cut;
    assert(stretch === null || stretch.everyMsMax >= everyMs, 'a wish within its bound');
    this.#cut = cut;
    this.#interval = { everyMs, why: 'asked', transferMs: null };
  }

  get interval(): CutInterval {
    return this.#interval;
  }

  /** Before, a look changes nothing. */
  isDue(nowMs: number): boolean {
    return this.#last === null || nowMs - this.#last.atMs >= LOOK_MS;
  }

  /** @returns what holds from now on */
  look(now: CutSample): CutInterval {
    this.#first ??= now;
    this.#last ??= now;
    // An image's first epoch is all of memory: it says nothing of those to come.
    if (now.transfers <= this.#first.transfers + 1) this.#last = now;
    const cuts = now.cuts - this.#last.cuts;
    const transfers = now.transfers - this.#last.transfers;
    if (!this.isDue(now.atMs) || cuts === 0 || transfers === 0) return this.#interval;
    const pauseMs = (now.pauseMs - this.#last.pauseMs) / cuts;
    const transferMs = (now.transferMs - this.#last.transferMs) / transfers;
    this.#last = now;
    this.#interval = { ...this.#lengthFor(pauseMs, transferMs), transferMs };
    return this.#interval;
  }

  #lengthFor(pauseMs: number, transferMs: number): Omit<CutInterval, 'transferMs'> {
    const { everyMs: asked, stretch } = this.#cut;
    if (stretch === null) return this.#interval;
    const { everyMs: before, why } = this.#interval;
    const forPause = pauseMs / stretch.pauseShareMax;
    const forTransfer = transferMs / stretch.transferShareMax;
    const enough = Math.max(asked, forPause, forTransfer);
    const shortest = Math.max(asked, before * (1 - STEP_DOWN));
    const length = Math.min(stretch.everyMsMax, Math.max(enough, shortest));
    const everyMs = Math.round(length / FINEST_MS) * FINEST_MS;
    if (everyMs <= asked) return { everyMs: asked, why: 'asked' };
    if (enough < everyMs) return { everyMs, why }; // on its way back
    return { everyMs, why: forPause >= forTransfer ? 'pause' : 'transfer' };
  }
}
