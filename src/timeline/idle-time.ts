// SPDX-License-Identifier: Apache-2.0
/**
 * Idle time, out of positions alone. While the guest executes, its time advances by
 * the rate that the last CLOCK record set; what it advanced beyond that between two
 * positions it slept, or a clock record stepped over (exitlog/exits/clock.c, docs/decisions/0003).
 */
import { CLOCK } from '../log/kinds.ts';

/** ns per instruction at power-on. */
const RATE_START = 2;
const RATE_ONE = 2 ** 32;

export class IdleTime {
  /** ns per instruction; null while it is not known, after a part of the log is missing. */
  #rate: number | null = null;
  #icount = 0;
  #vtimeNs = 0;
  #stepToNs: number | null = null;
  /** Idle and stepped time of the last `advance`, ns. */
  idleNs = 0;
  stepNs = 0;

  /** Whether idle time is counted here. */
  get isKnown(): boolean {
    return this.#rate !== null;
  }

  powerOn(): void {
    this.#rate = RATE_START;
  }

  /** Goes on from here, without counting what was before. */
  jump(icount: number, vtimeNs: number): void {
    this.#rate = null;
    this.#stepToNs = null;
    this.#icount = icount;
    this.#vtimeNs = vtimeNs;
  }

  /** Moves to the next position. */
  advance(icount: number, vtimeNs: number): void {
    const from = this.#vtimeNs;
    this.stepNs = 0;
    if (this.#stepToNs !== null && vtimeNs >= this.#stepToNs) {
      this.stepNs = Math.max(0, this.#stepToNs - from);
      this.#stepToNs = null;
    }
    const ranNs = (icount - this.#icount) * (this.#rate ?? 0);
    const rest = vtimeNs - from - this.stepNs - ranNs;
    // A position's time is rounded to whole ns.
    this.idleNs = this.#rate === null || rest <= 1 ? 0 : Math.round(rest);
    this.#icount = icount;
    this.#vtimeNs = vtimeNs;
  }

  /** A CLOCK record at the position reached. */
  set(channel: number, arg: number): void {
    if (channel === CLOCK.RATE) this.#rate = arg / RATE_ONE;
    if (channel === CLOCK.STEP) this.#stepToNs = arg;
  }
}
