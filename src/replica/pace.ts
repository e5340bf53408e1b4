// SPDX-License-Identifier: Apache-2.0
/**
 * Where both sides are, how far ahead the primary may run, and how often it is cut: the lag
 * bound, and the pace of cuts, applied.
 */

import type { Clock } from '../base/clock.ts';
import { comparePoints, POWER_ON, type Position } from '../base/position.ts';
import { type CutInterval, CutPace } from '../epochs/cut-pace.ts';
import { type LagBound, LagPolicy, type LagView } from '../epochs/lag.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Holds } from '../vm/holds.ts';
import type { Ring, Shipping } from './ports.ts';

export class Pace {
  readonly #lag: LagBound;
  readonly #cuts: CutPace | null;
  readonly #clock: Clock;
  #backup: Position = POWER_ON;

  constructor({ pace, cut }: Protocol, clock: Clock) {
    this.#lag = new LagPolicy(pace);
    this.#cuts = cut === null ? null : new CutPace(cut);
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

  /** Null: no epoch is cut. */
  get interval(): CutInterval | null {
    return this.#cuts?.interval ?? null;
  }

  /** The backup has more epochs: how long those are that follow. */
  cut(ring: Ring, shipping: Shipping): void {
    const atMs = this.#clock.nowMs();
    if (!this.#cuts?.isDue(atMs)) return;
    const { epochs, epochPauseNs } = ring.snapshot();
    const { transfers, transferNs } = shipping.facts().state;
    const before = this.#cuts.interval.everyMs;
    const { everyMs } = this.#cuts.look({
      atMs,
      cuts: Number(epochs),
      pauseMs: Number(epochPauseNs) / 1e6,
      transfers,
      transferMs: transferNs / 1e6,
    });
    if (everyMs !== before) shipping.cutEvery(everyMs);
  }
}
