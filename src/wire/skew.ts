// SPDX-License-Identifier: Apache-2.0
/**
 * How far two hosts' clocks are apart, by their heartbeats: what the peer's said when it
 * sent one, less what ours said when it came. That is the skew less the way; the greatest of
 * late had the shortest way.
 */

/** Number of heartbeats remembered: a clock that was set back shows after as many. */
const HEARD_MAX = 16;

export class ClockSkew {
  readonly #heardMs: number[] = [];

  heard(sentAtNs: bigint, nowNs: bigint): void {
    this.#heardMs.push(Number(sentAtNs - nowNs) / 1e6);
    if (this.#heardMs.length > HEARD_MAX) this.#heardMs.shift();
  }

  /** The peer's clock less ours; null before the first heartbeat. */
  get ms(): number | null {
    return this.#heardMs.length === 0 ? null : Math.max(...this.#heardMs);
  }
}
