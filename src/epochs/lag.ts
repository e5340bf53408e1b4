// SPDX-License-Identifier: Apache-2.0
/**
 * Bounded lag: how far the backup's execution may fall behind the primary's.
 *
 * A failover has to replay the lag before it goes live, so the lag is a bound on
 * the stall that clients see. The bound is in ms of the primary's own execution;
 * the vCPU understands only instructions, so that it is given as
 * `backup's position + lag_ms_max × rate`, rate being the fastest that the
 * primary was seen to run lately. An idle primary measures nothing: the rate is
 * only taken where the guest computed.
 */
import { assert } from '../base/assert.ts';

export interface LagSample {
  readonly atMs: number;
  readonly icount: bigint;
}

export interface LagView {
  /** Instructions between the two positions. */
  readonly instructions: bigint;
  /** Host ms since the primary was where the backup is now. */
  readonly ms: number;
  /** True while the bound slows the primary. */
  readonly throttled: boolean;
}

export interface LagBound {
  /** The primary is here now. */
  primaryAt(sample: LagSample): void;
  /** The backup has executed up to here. */
  backupAt(icount: bigint): void;
  /** The vCPU is to wait there. */
  icountMax(): bigint;
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

export class LagPolicy implements LagBound {
  readonly #lagMsMax: number;
  readonly #floorPerMs: number;
  /** Where the primary was when, oldest first; those the backup has passed are dropped. */
  #samples: LagSample[] = [];
  #primary: LagSample | null = null;
  #rateFrom: LagSample | null = null;
  #ratePerMs: number;
  #backup = 0n;
  /** The bound given out last, and when the primary last ran into it. */
  #bound: bigint | null = null;
  #boundMetMs = Number.NEGATIVE_INFINITY;

  constructor(options: LagOptions) {
    assert(options.lagMsMax > 0, 'lag_ms_max is positive');
    this.#lagMsMax = options.lagMsMax;
    this.#floorPerMs = options.floorPerMs ?? 50_000;
    this.#ratePerMs = this.#floorPerMs;
  }

  primaryAt(sample: LagSample): void {
    if (this.#primary !== null && sample.icount < this.#primary.icount) return;
    this.#primary = sample;
    if (this.#bound !== null && sample.icount >= this.#bound) this.#boundMetMs = sample.atMs;
    const last = this.#samples.at(-1);
    if (last === undefined || sample.atMs - last.atMs >= SAMPLE_SPACING_MS) {
      this.#samples.push(sample);
      if (this.#samples.length > SAMPLES_MAX) {
        // Thin out instead of forgetting: the oldest tells how far behind the backup is.
        this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
      }
    }
    this.#measure(sample);
  }

  backupAt(icount: bigint): void {
    if (icount <= this.#backup) return;
    this.#backup = icount;
    let passed = 0;
    while ((this.#samples[passed]?.icount ?? icount + 1n) <= icount) passed += 1;
    if (passed > 0) this.#samples.splice(0, passed);
  }

  get ratePerMs(): number {
    return this.#ratePerMs;
  }

  icountMax(): bigint {
    this.#bound = this.#backup + BigInt(Math.round(this.#lagMsMax * this.#ratePerMs));
    return this.#bound;
  }

  view(nowMs: number): LagView {
    const primary = this.#primary;
    // The bound moves with every ack, so that being stopped by it shows only in moments.
    const throttled = nowMs - this.#boundMetMs < THROTTLED_FOR_MS;
    if (primary === null || primary.icount <= this.#backup) {
      return { instructions: 0n, ms: 0, throttled };
    }
    const oldest = this.#samples[0] ?? primary;
    return {
      instructions: primary.icount - this.#backup,
      ms: Math.max(0, nowMs - oldest.atMs),
      throttled,
    };
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
    const rate = Number(sample.icount - from.icount) / ms;
    // Up at once, down slowly: a burst after idling must not be throttled by an
    // average that the idle time pulled down.
    const decayed = this.#ratePerMs * 0.995;
    this.#ratePerMs = Math.max(this.#floorPerMs, decayed, rate);
  }
}
