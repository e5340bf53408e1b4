// SPDX-License-Identifier: Apache-2.0
/**
 * Bounded lag: how far the backup's execution may fall behind the primary's.
 *
 * A failover has to replay the lag before it goes live, so the lag is a bound on
 * the stall that clients see. The bound is in ms; the vCPU understands only
 * instructions, so that it is given as `backup's position + lag_ms_max × rate`. The
 * rate is how fast the backup replays while it is behind, for that is what a
 * failover would wait for; while it keeps up, the fastest that the primary was seen
 * to run lately, so that a burst after idling is not slowed.
 *
 * A backup that waits for its host (its disk, a core) is behind in time with few
 * instructions to go: where lag_ms_max is over all the same, the primary waits where
 * it is until the backup has come nearer.
 */
import { assert } from '../base/assert.ts';
import {
  advance,
  comparePoints,
  distance,
  type Instructions,
  POWER_ON,
  type Point,
} from '../base/position.ts';

export interface LagSample {
  readonly atMs: number;
  readonly point: Point;
}

export interface LagView {
  /** Instructions between the two positions. */
  readonly instructions: Instructions;
  /** Host ms since the primary was where the backup is now. */
  readonly ms: number;
  /** True while the bound slows the primary. */
  readonly throttled: boolean;
}

export interface LagBound {
  /** The primary is here now. */
  primaryAt(sample: LagSample): void;
  /** The backup has executed up to here, as was heard at `atMs`. */
  backupAt(sample: LagSample): void;
  /** The vCPU is to wait there. */
  boundAt(nowMs: number): Point;
  view(nowMs: number): LagView;
}

export interface LagOptions {
  readonly lagMsMax: number;
  /** Used until the primary has been measured, and never gone below. */
  readonly floorPerMs?: number;
}

const SAMPLE_SPACING_MS = 2;
const SAMPLES_MAX = 4096;
/** How long after it was last slowed the primary counts as being slowed. */
const THROTTLED_FOR_MS = 1000;
/** Windows shorter than this measure scheduling, not the guest. */
const RATE_WINDOW_MS = 20;
/**
 * The backup's rate is the fastest of its windows within this time. Not their mean:
 * windows in which it waited for a primary that waited for it would count, the bound
 * would shrink, and both would wait more and more.
 */
const BACKUP_RECENT_MS = 200;
/** Positions are reported so late at most, ordinarily: they come every 5 ms, and are looked at every 10. */
const REPORT_MS = 10;
/** The rest of lag_ms_max is for reports, and for a host that runs something else. */
const SHARE = 0.5;

export class LagPolicy implements LagBound {
  readonly #lagMsMax: number;
  readonly #floorPerMs: number;
  /** Where the primary was when, oldest first; only places that the backup has not reached. */
  #samples: LagSample[] = [];
  #primary: LagSample | null = null;
  #rateFrom: LagSample | null = null;
  #ratePerMs: number;
  #backup = POWER_ON.point;
  /** Since then the backup has been behind. */
  #behindFrom: LagSample | null = null;
  /** How fast it replayed in recent windows; empty while it keeps up. */
  #backupRates: { readonly atMs: number; readonly perMs: number }[] = [];
  /** The bound given out last, and when the primary last ran into it. */
  #bound: Point | null = null;
  #boundMetMs = Number.NEGATIVE_INFINITY;

  constructor(options: LagOptions) {
    assert(options.lagMsMax > 0, 'lag_ms_max is positive');
    this.#lagMsMax = options.lagMsMax;
    this.#floorPerMs = options.floorPerMs ?? 50_000;
    this.#ratePerMs = this.#floorPerMs;
  }

  primaryAt(sample: LagSample): void {
    const { point, atMs } = sample;
    if (this.#primary !== null && comparePoints(point, this.#primary.point) < 0) return;
    this.#primary = sample;
    if (this.#bound !== null && comparePoints(point, this.#bound) >= 0) this.#boundMetMs = atMs;
    const last = this.#samples.at(-1);
    // How long a guest slept at a place that its backup has reached is no lag: counted as one,
    // it would be held as soon as it wakes.
    const isAhead = comparePoints(point, this.#backup) > 0;
    if (isAhead && (last === undefined || atMs - last.atMs >= SAMPLE_SPACING_MS)) {
      this.#samples.push(sample);
      if (this.#samples.length > SAMPLES_MAX) {
        // Thin out instead of forgetting: the oldest tells how far behind the backup is.
        this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
      }
    }
    this.#measure(sample);
  }

  backupAt(sample: LagSample): void {
    const { point } = sample;
    this.#measureBackup(sample);
    if (comparePoints(point, this.#backup) <= 0) return;
    this.#backup = point;
    const ahead = this.#samples.findIndex((one) => comparePoints(one.point, point) > 0);
    this.#samples.splice(0, ahead < 0 ? this.#samples.length : ahead);
  }

  get ratePerMs(): number {
    return this.#ratePerMs;
  }

  boundAt(nowMs: number): Point {
    const replayed = this.#backupRates.map(({ perMs }) => perMs);
    const fastest = replayed.length === 0 ? this.#ratePerMs : Math.max(...replayed);
    const rate = Math.max(this.#floorPerMs, Math.min(this.#ratePerMs, fastest));
    const ahead = advance(this.#backup, BigInt(Math.round(SHARE * this.#lagMsMax * rate)));
    const here = this.#primary?.point ?? ahead;
    const isLate = this.view(nowMs).ms > this.#lagMsMax;
    this.#bound = isLate && comparePoints(here, ahead) < 0 ? here : ahead;
    return this.#bound;
  }

  view(nowMs: number): LagView {
    const primary = this.#primary;
    // The bound moves with every ack, so that being stopped by it shows only in moments.
    const throttled = nowMs - this.#boundMetMs < THROTTLED_FOR_MS;
    if (primary === null || comparePoints(primary.point, this.#backup) <= 0) {
      return { instructions: 0n, ms: 0, throttled };
    }
    const oldest = this.#samples[0] ?? primary;
    return {
      instructions: distance(this.#backup, primary.point),
      ms: Math.max(0, nowMs - oldest.atMs),
      throttled,
    };
  }

  #measureBackup(sample: LagSample): void {
    const primary = this.#primary?.point ?? POWER_ON.point;
    // What was under way to it when it reported is not a backlog.
    if (Number(distance(sample.point, primary)) < REPORT_MS * this.#ratePerMs) {
      this.#behindFrom = null;
      this.#backupRates = [];
      return;
    }
    const from = this.#behindFrom;
    const ms = sample.atMs - (from?.atMs ?? sample.atMs);
    if (from !== null && ms < RATE_WINDOW_MS) return;
    this.#behindFrom = sample;
    if (from === null) return;
    this.#backupRates = this.#backupRates.filter(
      ({ atMs }) => sample.atMs - atMs < BACKUP_RECENT_MS,
    );
    const perMs = Number(distance(from.point, sample.point)) / ms;
    this.#backupRates.push({ atMs: sample.atMs, perMs });
  }

  #measure(sample: LagSample): void {
    const from = this.#rateFrom;
    if (from === null) {
      this.#rateFrom = sample;
      return;
    }
    const ms = sample.atMs - from.atMs;
    if (ms < RATE_WINDOW_MS) return;
    this.#rateFrom = sample;
    const rate = Number(distance(from.point, sample.point)) / ms;
    // Up at once, down slowly: a burst after idling must not be throttled by an
    // average that the idle time pulled down.
    const decayed = this.#ratePerMs * 0.995;
    this.#ratePerMs = Math.max(this.#floorPerMs, decayed, rate);
  }
}
