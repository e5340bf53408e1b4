// SPDX-License-Identifier: Apache-2.0
/** Where inferiors can start. Shared by all debuggers: a checkpoint is verified once. */
import { comparePoints, keyOf, type Point } from '../base/position.ts';
import { listCheckpoints } from '../checkpoint/manifest.ts';
import { type ChainStart, findStart } from '../checkpoint/start.ts';
import type { Recording } from '../recording/folder.ts';

export class Starts {
  readonly #recording: Recording;
  readonly #onWarning: (text: string) => void;
  readonly #points: readonly Point[];
  readonly #known = new Map<string, Promise<ChainStart | null>>();

  /** @param onWarning told of each checkpoint that is damaged, and what is used instead */
  constructor(recording: Recording, onWarning: (text: string) => void) {
    this.#recording = recording;
    this.#onWarning = onWarning;
    this.#points = listCheckpoints(recording.paths.checkpoints);
  }

  /** The nearest at or before; null: power-on. */
  at(point: Point): Promise<ChainStart | null> {
    const newest = this.#points.filter((at) => comparePoints(at, point) <= 0).at(-1);
    if (newest === undefined) return Promise.resolve(null);
    let start = this.#known.get(keyOf(newest));
    if (start === undefined) {
      start = findStart(this.#recording, newest, this.#onWarning);
      this.#known.set(keyOf(newest), start);
    }
    return start;
  }
}
