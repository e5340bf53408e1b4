// SPDX-License-Identifier: Apache-2.0
/** Small, seeded, good enough to choose delays and words. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed >>> 0) + 1;
  }

  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
}
