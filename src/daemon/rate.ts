// SPDX-License-Identifier: Apache-2.0
/** A rate over the last seconds, from a counter that only grows. */

const WINDOW_MS = 5000;
const SPACING_MS = 250;

export class Rate {
  readonly #samples: { atMs: number; value: number }[] = [];

  sample(atMs: number, value: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && atMs - last.atMs < SPACING_MS) return;
    this.#samples.push({ atMs, value });
    while (this.#samples.length > 2 && atMs - (this.#samples[0]?.atMs ?? atMs) > WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** Per second, up to now; 0 until there are two samples. */
  perSecond(nowMs: number, value: number): number {
    const first = this.#samples[0];
    if (first === undefined || nowMs <= first.atMs) return 0;
    return ((value - first.value) * 1000) / (nowMs - first.atMs);
  }
}
