// SPDX-License-Identifier: Apache-2.0
/**
 * Who was turned away. Anybody can connect as often as they like: what they cause is told a
 * few times a minute, and else counted, so that a stranger fills neither log nor terminal.
 */
import type { Clock } from '../base/clock.ts';
import type { Report } from './ports.ts';

/** At most this many are told within `WINDOW_MS`; then their number, with the first one after it. */
export const TOLD_MAX = 10;
export const WINDOW_MS = 60_000;

export class TurnedAway {
  readonly #clock: Clock;
  readonly #report: Report;
  #last: string | null = null;
  #count = 0;
  #windowFromMs = Number.NEGATIVE_INFINITY;
  #inWindow = 0;

  constructor(clock: Clock, report: Report) {
    this.#clock = clock;
    this.#report = report;
  }

  /** The last one, and why; null: nobody was. */
  get last(): string | null {
    return this.#last;
  }

  get count(): number {
    return this.#count;
  }

  note(remote: string, code: string, reason: string): void {
    this.#last = `${remote}: ${code}: ${reason}`;
    this.#count++;
    const now = this.#clock.nowMs();
    if (now - this.#windowFromMs >= WINDOW_MS) {
      const untold = this.#inWindow - TOLD_MAX;
      if (untold > 0) this.#report('peers-refused', { untold });
      this.#windowFromMs = now;
      this.#inWindow = 0;
    }
    if (++this.#inWindow <= TOLD_MAX) this.#report('peer-refused', { remote, code, reason });
  }
}
