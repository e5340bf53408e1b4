// SPDX-License-Identifier: Apache-2.0
/**
 * Who holds the vCPU. Each holder has a bound of its own, by name, and the vCPU waits at
 * the least of them: who lets go undoes nobody else's hold.
 */
import { comparePoints, type Point, samePoint } from '../base/position.ts';

export type Holder =
  /** The backup's execution must not fall behind further (epochs/lag.ts). */
  | 'lag'
  /** A backup that joins has to come up (epochs/catch-up.ts). */
  | 'join'
  /** The VM is brought to rest before it is handed over. */
  | 'handover'
  /** What a recording takes has to stay within its limit (retain/space-pace.ts). */
  | 'space'
  /** A replay goes no further. */
  | 'until';

/** The holds on one VM's vCPU. */
export class Holds {
  readonly #apply: (bound: Point | null) => void;
  readonly #held = new Map<Holder, Point>();
  #least: Point | null = null;

  /** @param apply has the vCPU wait there; null: nowhere, as at first */
  constructor(apply: (bound: Point | null) => void) {
    this.#apply = apply;
  }

  /** The vCPU is to wait at this point, or where it is if that is past it. */
  hold(name: Holder, point: Point): void {
    this.#held.set(name, point);
    this.#settle();
  }

  /** It need not, as far as these are concerned. Idempotent. */
  release(...names: readonly Holder[]): void {
    for (const name of names) this.#held.delete(name);
    this.#settle();
  }

  #settle(): void {
    let least: Point | null = null;
    for (const point of this.#held.values()) {
      if (least === null || comparePoints(point, least) < 0) least = point;
    }
    if (samePoint(least, this.#least)) return;
    this.#least = least;
    this.#apply(least);
  }
}
