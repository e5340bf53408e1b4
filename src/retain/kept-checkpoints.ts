// SPDX-License-Identifier: Apache-2.0
/**
 * What a daemon's history does not need any more is deleted: checkpoints alone, since its
 * log is bounded by log_mib_max (log-trim.ts).
 */

import { type Chain, CheckpointChains } from '../checkpoint/chains.ts';
import { Keeper, type Kept, type KeptView } from './keeper.ts';
import { generationOf, notUsable } from './kept-folder.ts';
import type { RetainLimits } from './limits.ts';

const LOOK_MS = 1000;

/** Held while some are deleted; null: somebody reads them, so not now. */
export type Hold = () => { release(): void } | null;

class KeptCheckpoints implements Kept {
  readonly #chains: CheckpointChains;
  readonly #hold: Hold;
  #last: readonly Chain[] = [];

  constructor(dir: string, hold: Hold) {
    this.#chains = new CheckpointChains(dir);
    this.#hold = hold;
  }

  async view(): Promise<KeptView> {
    this.#last = await this.#chains.list();
    const generations = this.#last.map((chain) => generationOf(chain, 0));
    return { generations, partialBytes: 0, looseBytes: 0 };
  }

  async forgetOldest(count: number): Promise<string | null> {
    const first = this.#last[count]?.full;
    const hold = first === undefined ? null : this.#hold();
    if (first === undefined || hold === null) return null;
    try {
      const problem = await this.#chains.problemOf(first);
      if (problem !== null) return notUsable(first, problem);
      for (const { points } of this.#last.slice(0, count)) await this.#chains.forgetChain(points);
      return null;
    } finally {
      hold.release();
    }
  }

  async forgetNewest(): Promise<void> {
    // only where the VM is asked to keep to a size
  }
}

export class CheckpointTrimmer {
  readonly #keeper: Keeper;
  readonly #timer: NodeJS.Timeout;

  /** @param onWarning told, once, what keeps it from deleting */
  constructor(dir: string, hold: Hold, limits: RetainLimits, onWarning: (text: string) => void) {
    const kept = new KeptCheckpoints(dir, hold);
    this.#keeper = new Keeper({ limits, space: null, kept, vm: null, onWarning });
    this.#timer = setInterval(() => this.#keeper.tick(performance.now(), Date.now()), LOOK_MS);
    this.#timer.unref();
  }

  /** Now. */
  async look(): Promise<void> {
    await this.#keeper.settled();
    this.#keeper.look(Date.now());
    await this.#keeper.settled();
  }

  /** From now on nothing is deleted, but for what is being deleted now. */
  stop(): void {
    clearInterval(this.#timer);
  }
}
