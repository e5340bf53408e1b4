// SPDX-License-Identifier: Apache-2.0
/**
 * Failover: detect (done by the caller) → fence → drain → go live → announce.
 *
 * The fence comes first: without it this side does nothing but wait. QEMU
 * announces itself (gratuitous ARP) as part of going live.
 */

import { type Against, type Arbiter, type Claimant, describeHolder } from '../arbiter/arbiter.ts';
import { claimUntilDecided } from '../arbiter/claim.ts';
import { type Clock, sleep } from '../base/clock.ts';
import type { PeerSession } from '../wire/session.ts';
import type { Understudy } from './follower/understudy.ts';

/** Host ms of each step; null: not reached. Reported by `status`. */
export interface FailoverTimes {
  readonly reason: string;
  /** CLOCK_REALTIME, ms, of the detection. */
  readonly detected_at_ms: number;
  /** Time from the last sign of life to the detection. */
  readonly detect_ms: number;
  fence_ms: number | null;
  drain_ms: number | null;
  golive_ms: number | null;
  /** Detection to live. */
  total_ms: number | null;
}

/** The loss of the primary is known now. */
export function detected(clock: Clock, reason: string, detectMs: number): FailoverTimes {
  return {
    reason,
    detected_at_ms: Math.round(Number(clock.realtimeNs() / 1_000_000n)),
    detect_ms: detectMs,
    fence_ms: null,
    drain_ms: null,
    golive_ms: null,
    total_ms: null,
  };
}

/** The side of this session was lost. */
export function against({ remote, leaves }: PeerSession, reason: string): Against {
  return { peer: remote, reason, leaves };
}

export type FailoverResult =
  | { readonly result: 'live'; readonly term: number }
  | { readonly result: 'fenced'; readonly reason: string }
  | { readonly result: 'cancelled' };

export interface FailoverOptions {
  readonly arbiter: Arbiter;
  readonly claimant: Claimant;
  readonly clock: Clock;
  readonly vmId: string;
  /** Our own term; the claim is for the next. */
  readonly term: number;
  readonly against: Against;
  readonly follower: Understudy;
  readonly times: FailoverTimes;
  /** A step begins, or the arbiter is unreachable. */
  readonly progress: (text: string) => void;
  /** The fence is ours; before the drain. */
  readonly fenced: (term: number) => void;
  readonly cancelled: () => boolean;
}

/** An operation of the disk that takes so long may be one that does not return. */
const BUSY_MS_MAX = 100;
const STORE_POLL_MS = 5;

/**
 * Waits until this side is known to make progress: one that cannot store never claims.
 * @returns false: cancelled
 */
async function canStore(o: FailoverOptions): Promise<boolean> {
  for (;;) {
    if (o.cancelled()) return false;
    const { diskMs, stuckMs } = o.follower.receiving.facts();
    if (stuckMs === 0 && diskMs < BUSY_MS_MAX) return true;
    const why = stuckMs === 0 ? 'its disk is busy' : 'its disk or its courier stands still';
    o.progress(`lost the primary (${o.times.reason}): this side does not claim: ${why}`);
    await sleep(o.clock, STORE_POLL_MS);
  }
}

export async function failOver(o: FailoverOptions): Promise<FailoverResult> {
  const { clock, times } = o;
  const detectedMs = clock.nowMs();

  if (!(await canStore(o))) return { result: 'cancelled' };
  o.progress(`lost the primary (${times.reason}): claiming the fence`);
  const claim = await claimUntilDecided({
    arbiter: o.arbiter,
    clock,
    vmId: o.vmId,
    term: o.term + 1,
    claimant: o.claimant,
    against: o.against,
    unreachable: (reason) => o.progress(`lost the primary (${times.reason}): waiting: ${reason}`),
    cancelled: o.cancelled,
  });
  if (claim === null || o.cancelled()) return { result: 'cancelled' };
  const fencedMs = clock.nowMs();
  times.fence_ms = fencedMs - detectedMs;
  if (claim.result === 'lost') {
    // At once: this side must never become a second live VM.
    o.follower.vm.kill();
    const holder = describeHolder(claim.holder);
    return { result: 'fenced', reason: `fenced: term ${claim.term} is held by ${holder}` };
  }
  o.fenced(claim.term);

  const live = await o.follower.goLive(o.progress, o.cancelled);
  if (live === null) return { result: 'cancelled' };
  times.drain_ms = live.drainedMs - fencedMs;
  times.golive_ms = live.liveMs - live.drainedMs;
  times.total_ms = live.liveMs - detectedMs;
  return { result: 'live', term: claim.term };
}
