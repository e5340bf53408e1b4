// SPDX-License-Identifier: Apache-2.0
/**
 * A side that is sick and not dead: its disk or its courier stands still, or its log cannot be
 * written. It says so by name, leaves the VM to the other one, and never competes with it.
 */
import { type ClaimOptions, claimUntilDecided } from '../arbiter/claim.ts';
import { sleep } from '../base/clock.ts';
import type { Goodbye } from '../wire/messages.ts';
import type { Loss } from '../wire/session.ts';
import type { Stuck } from './ports.ts';

/** For a side whose courier has not told what. */
export const STANDS_STILL = 'its disk or its courier stands still';

const WHAT = {
  disk: 'a write or sync of its log',
  courier: 'its courier',
  control: 'its control (JavaScript)',
} as const;

/** Said for a side that may not get to say more. */
export function lastWords(
  what: Exclude<Stuck, 'acks'>,
  ms: number,
): Pick<Goodbye, 'reason' | 'message'> {
  return { reason: `${what}-stuck`, message: `${WHAT[what]} has made no progress for ${ms} ms` };
}

/** The loss of a peer that lives. */
export const lossBecause = (reason: string, goodbye: Goodbye | null = null): Loss => ({
  reason,
  code: goodbye === null ? 'peer-timeout' : 'peer-lost',
  detectMs: 0,
  goodbye,
});

/** Longer than a backup that is well takes to claim the fence. */
const GIVE_WAY_MS = 5000;
const POLL_MS = 100;

export interface ClaimUnlessSick extends ClaimOptions {
  /** Why this side is not to be relied on, or null. */
  readonly sick: () => string | null;
}

/** A side that is sick claims when the other one would not, and not before. */
export async function claimUnlessSick(o: ClaimUnlessSick): ReturnType<typeof claimUntilDecided> {
  const endMs = o.clock.nowMs() + GIVE_WAY_MS;
  while (o.sick() !== null && !o.cancelled() && o.clock.nowMs() < endMs) {
    const holder = await o.arbiter.holder(o.vmId);
    if (holder !== null && 'term' in holder && holder.term >= o.term) break;
    await sleep(o.clock, POLL_MS);
  }
  return claimUntilDecided(o);
}
