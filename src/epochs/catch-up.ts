// SPDX-License-Identifier: Apache-2.0
/**
 * How a running VM lets a new backup come up to it. The backup starts seconds behind,
 * and replays about as fast as a computing guest runs: so the guest is slowed, not
 * stopped, after a while in which idle time alone may have been enough. Each wait of
 * its vCPU is a few ms, so that no client sees more than that.
 */
import { advance, distance, type Point } from '../base/position.ts';
import type { LagSample } from './lag.ts';

/** Grace period before the guest is slowed. */
const GRACE_MS = 2000;
/** Share of the backup's replay speed at which the VM may execute until then. */
const SHARE = 0.6;
/** The bound is renewed about every 10 ms; more than one such step is allowed. */
const AHEAD_MS = 15;
const WINDOW_MS = 200;
/** As in lag.ts: what a backup is taken to replay at least. */
const FLOOR_PER_MS = 50_000;

export class CatchUp {
  readonly #fromMs: number;
  #heard: LagSample[] = [];

  constructor(nowMs: number) {
    this.#fromMs = nowMs;
  }

  /** The backup has executed up to here. */
  backupAt(sample: LagSample): void {
    this.#heard.push(sample);
    const first = this.#heard.findIndex(({ atMs }) => atMs >= sample.atMs - WINDOW_MS);
    this.#heard = this.#heard.slice(Math.max(0, first));
  }

  /** Where the vCPU is to wait, given where it is now; null: nowhere. */
  boundAt(nowMs: number, here: Point): Point | null {
    if (nowMs - this.#fromMs < GRACE_MS) return null;
    const first = this.#heard[0];
    const last = this.#heard.at(-1);
    const rate = first === undefined || last === undefined ? 0 : rateOf(first, last);
    return advance(here, BigInt(Math.round(SHARE * Math.max(rate, FLOOR_PER_MS) * AHEAD_MS)));
  }
}

/** Instructions per ms; 0 when no time has passed. */
function rateOf(from: LagSample, to: LagSample): number {
  const ms = to.atMs - from.atMs;
  return ms === 0 ? 0 : Number(distance(from.point, to.point)) / ms;
}
