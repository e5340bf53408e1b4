// SPDX-License-Identifier: Apache-2.0
/** Where both sides are, and how far ahead the primary may run: the lag bound, applied. */

import type { Clock } from '../base/clock.ts';
import { comparePoints, POWER_ON, type Position } from '../base/position.ts';
import { type LagBound, LagPolicy, type LagView } from '../epochs/lag.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Holds } from '../vm/holds.ts';
import type { Ring } from './ports.ts';

export class Pace {
  readonly #lag: LagBound;
  readonly #clock: Clock;
  #backup: Position = POWER_ON;

  constructor({ pace }: Protocol, clock: Clock) {
    this.#lag = new LagPolicy(pace);
    this.#clock = clock;
  }

  /** What the backup has executed, as far as it has told. */
  get backupPosition(): Position {
    return this.#backup;
  }

  view(nowMs: number): LagView {
    return this.#lag.view(nowMs);
  }

  primaryAt(ring: Ring): void {
    const { point } = ring.place().position;
    this.#lag.primaryAt({ atMs: this.#clock.nowMs(), point });
  }

  /** @param holds of the vCPU to bound; null while nothing is to be bounded */
  backupAt(position: Position, holds: Holds | null): void {
    if (comparePoints(position.point, this.#backup.point) < 0) return;
    this.#backup = position;
    this.#lag.backupAt({ atMs: this.#clock.nowMs(), point: position.point });
    if (holds !== null) this.bound(holds);
  }

  bound(holds: Holds): void {
    holds.hold('lag', this.#lag.boundAt(this.#clock.nowMs()));
  }
}
