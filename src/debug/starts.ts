// SPDX-License-Identifier: Apache-2.0
/** Where inferiors can start. Shared by all debuggers: a checkpoint is verified once. */

import { listCheckpoints } from '../checkpoint/manifest.ts';
import { type ChainStart, findStart } from '../checkpoint/start.ts';
import type { Recording } from '../recording/folder.ts';

export class Starts {
  readonly #recording: Recording;
  readonly #onWarning: (text: string) => void;
  readonly #icounts: readonly bigint[];
  readonly #known = new Map<bigint, Promise<ChainStart | null>>();

  /** @param onWarning told of each checkpoint that is damaged, and what is used instead */
  constructor(recording: Recording, onWarning: (text: string) => void) {
    this.#recording = recording;
    this.#onWarning = onWarning;
    this.#icounts = listCheckpoints(recording.paths.checkpoints);
  }

  /** The nearest at or before; null: power-on. */
  at(icount: bigint): Promise<ChainStart | null> {
    const newest = this.#icounts.filter((at) => at <= icount).at(-1);
    if (newest === undefined) return Promise.resolve(null);
    let start = this.#known.get(newest);
    if (start === undefined) {
      start = findStart(this.#recording, newest, this.#onWarning);
      this.#known.set(newest, start);
    }
    return start;
  }
}
