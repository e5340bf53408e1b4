// SPDX-License-Identifier: Apache-2.0
/** The fault, and who goes on after it: what was done, seen and measured. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DemoNetwork } from './netns.ts';
import type { DemoPair, Side, SideStatus } from './pair.ts';

/** `primary`, `backup`: that host dies. `link`: the two stop hearing each other. */
export type Fault = 'primary' | 'backup' | 'link';

export const FAULTS: readonly Fault[] = ['primary', 'backup', 'link'];

export interface Aftermath {
  /** CLOCK_REALTIME, ms, right before the fault. */
  readonly faultAtMs: number;
  /** The side whose VM goes on; null: none did. */
  readonly survivor: Side | null;
  /** Fault to detection by the survivor; null: it did not say. */
  readonly detectMs: number | null;
  /** Fault to a VM that is live and releases its output alone. */
  readonly goliveMs: number | null;
}

/** Events that the daemons said, with the moment they were heard. */
export interface Heard {
  readonly atMs: number;
  readonly side: Side;
  readonly event: string;
}

const POLL_MS = 5;
const SURVIVE_TIMEOUT_MS = 15_000;

export const now = (): number => performance.timeOrigin + performance.now();

export function strike(fault: Fault, pair: DemoPair, network: DemoNetwork): number {
  const atMs = now();
  if (fault === 'link') network.cutLink();
  else pair.killHost(fault);
  return atMs;
}

/** Waits until one side goes on alone. */
export async function awaitSurvivor(
  fault: Fault,
  faultAtMs: number,
  pair: DemoPair,
  heard: readonly Heard[],
): Promise<Aftermath> {
  const candidates = (['primary', 'backup'] as const).filter((side) => side !== fault);
  while (now() - faultAtMs < SURVIVE_TIMEOUT_MS) {
    for (const side of candidates) {
      const status = await pair.status(side);
      if (status?.state !== 'needs-backup') continue;
      return { faultAtMs, survivor: side, ...times(status, side, faultAtMs, heard) };
    }
    if (candidates.every((side) => pair.child(side).end !== null)) break;
    await sleep(POLL_MS);
  }
  return { faultAtMs, survivor: null, detectMs: null, goliveMs: null };
}

function times(
  status: SideStatus,
  side: Side,
  faultAtMs: number,
  heard: readonly Heard[],
): Pick<Aftermath, 'detectMs' | 'goliveMs'> {
  const { failover } = status;
  if (failover !== null && failover.total_ms !== null) {
    // The backup's own account, on the same host's clock.
    const detectMs = Math.max(0, failover.detected_at_ms - faultAtMs);
    return { detectMs: round(detectMs), goliveMs: round(detectMs + failover.total_ms) };
  }
  // A primary that lost its backup: what it said, when we heard it.
  const since = heard.filter((one) => one.side === side && one.atMs >= faultAtMs);
  const lost = since.find(({ event }) => event === 'backup-lost' || event === 'primary-lost');
  const alone = since.find(({ event }) => event === 'needs-backup');
  return {
    detectMs: lost === undefined ? null : round(lost.atMs - faultAtMs),
    goliveMs: round((alone?.atMs ?? now()) - faultAtMs),
  };
}

export function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
