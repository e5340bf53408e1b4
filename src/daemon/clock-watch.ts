// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's time of day and the two hosts' clocks, in words: for `status` and the daemon's
 * log. QEMU does the work (qemu/exitlog/core/clock-host.c), with the same numbers.
 */
import { formatDuration } from '../base/format.ts';

/** Guest time is faster or slower by this part while it is slewed: SLEW_PART there. */
const SLEW = 1 / 20;
/** Further off than this it is not slewed: SLEW_NS_MAX. */
export const SLEW_MS_MAX = 10_000;
/** Less is the steering's own, and what heartbeats cannot tell. */
const WORTH_MS = 20;

/** The peer's clock less ours; null: nothing to be said. */
export function skewWords(ms: number | null): string | null {
  if (ms === null || Math.abs(ms) < WORTH_MS) return null;
  const far = Math.abs(ms);
  const words = `the peer's clock is ${formatDuration(far)} ${ms > 0 ? 'ahead of' : 'behind'} ours`;
  if (far > SLEW_MS_MAX) {
    return (
      `${words}, more than the ${formatDuration(SLEW_MS_MAX)} that guest time is slewed by: after a ` +
      "failover the guest's time of day stays off; synchronise the hosts' clocks"
    );
  }
  return `${words}: after a failover guest time is slewed for ${formatDuration(far / SLEW)}`;
}

/** Our clock less the guest's time of day; null: nothing to be said. */
export function guestClockWords(behindMs: number | null): string | null {
  if (behindMs === null || Math.abs(behindMs) < WORTH_MS) return null;
  const far = Math.abs(behindMs);
  const words = `${formatDuration(far)} ${behindMs > 0 ? 'behind' : 'ahead of'} this host's clock`;
  if (far > SLEW_MS_MAX) {
    return (
      `${words}, more than the ${formatDuration(SLEW_MS_MAX)} that guest time is slewed by: it stays; ` +
      "set this host's clock right, or the guest's inside the guest"
    );
  }
  return `${words}, slewed: right in ${formatDuration(far / SLEW)}`;
}

interface Clocks {
  readonly clock_skew_ms: number | null;
  readonly guest_clock_behind_ms: number | null;
}

type Report = (event: string, facts: Readonly<Record<string, unknown>>) => void;

/** How a value stands: as it should, slewed, or too far. A change is an event. */
function standing(ms: number): 'right' | 'off' | 'too-far' {
  if (Math.abs(ms) > SLEW_MS_MAX) return 'too-far';
  return Math.abs(ms) < WORTH_MS ? 'right' : 'off';
}

/** Looks at a daemon's clocks now and then, and says what has changed. */
export class ClockWatch {
  readonly #report: Report;
  #skew = 'right';
  #guest = 'right';

  constructor(report: Report) {
    this.#report = report;
  }

  look({ clock_skew_ms: skewMs, guest_clock_behind_ms: behindMs }: Clocks): void {
    if (skewMs !== null && standing(skewMs) !== this.#skew) {
      this.#skew = standing(skewMs);
      this.#report('clock-skew', {
        skew_ms: skewMs,
        reason: skewWords(skewMs) ?? "the hosts' clocks agree",
      });
    }
    if (behindMs !== null && standing(behindMs) !== this.#guest) {
      this.#guest = standing(behindMs);
      this.#report('guest-clock', {
        behind_ms: behindMs,
        reason: guestClockWords(behindMs) ?? "the guest's time of day is this host's",
      });
    }
  }
}
