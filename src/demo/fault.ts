// SPDX-License-Identifier: Apache-2.0
/** The fault, and who goes on after it: what was done, seen and measured. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DemoNetwork } from '../lab/netns.ts';
import type { DemoPair, Part, Side, SideStatus } from './pair.ts';

interface FaultKind {
  /** Who cannot go on; null: either may, but not both. */
  readonly victim: Side | null;
  /** What happens, for people. */
  readonly text: string;
  readonly strike: (pair: DemoPair, network: DemoNetwork) => void;
  /** Takes the fault away once somebody went on: what comes back must give up. */
  readonly undo?: (pair: DemoPair) => void;
}

const KINDS = {
  primary: kill('primary', ['daemon', 'qemu'], 'the primary and its QEMU'),
  backup: kill('backup', ['daemon', 'qemu'], 'the backup and its QEMU'),
  link: {
    victim: null,
    text: 'the link between the two is cut',
    strike: (_pair, network) => network.cutLink(),
  },
  'primary-daemon': kill('primary', ['daemon'], "the primary's daemon alone"),
  'primary-qemu': kill('primary', ['qemu'], "the primary's QEMU alone"),
  'backup-daemon': kill('backup', ['daemon'], "the backup's daemon alone"),
  'backup-qemu': kill('backup', ['qemu'], "the backup's QEMU alone"),
  'primary-freeze': {
    victim: 'primary',
    text: 'SIGSTOP to the primary and its QEMU; they wake up when the backup is live',
    strike: (pair) => pair.signal('primary', ['qemu', 'daemon'], 'SIGSTOP'),
    undo: (pair) => pair.signal('primary', ['qemu', 'daemon'], 'SIGCONT'),
  },
} as const satisfies Record<string, FaultKind>;

function kill(victim: Side, parts: readonly Part[], what: string): FaultKind {
  return {
    victim,
    text: `SIGKILL to ${what}`,
    strike: (pair) => pair.signal(victim, parts, 'SIGKILL'),
  };
}

export type Fault = keyof typeof KINDS;

export const FAULTS = Object.keys(KINDS) as readonly Fault[];

export function faultKind(fault: Fault): FaultKind {
  return KINDS[fault];
}

export interface Aftermath {
  /** CLOCK_REALTIME, ms, right before the fault. */
  readonly faultAtMs: number;
  /** The side whose VM goes on; null: none did. */
  readonly survivor: Side | null;
  /** Fault to detection by the survivor; null: it did not say. */
  readonly detectMs: number | null;
  /** Fault to a VM that is live and releases its output alone. */
  readonly goliveMs: number | null;
  /** Part of that spent on replaying the rest of the log: how far the backup was behind. */
  readonly drainMs: number | null;
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
  faultKind(fault).strike(pair, network);
  return atMs;
}

/** Waits until one side goes on alone. */
export async function awaitSurvivor(
  fault: Fault,
  faultAtMs: number,
  pair: DemoPair,
  heard: readonly Heard[],
): Promise<Aftermath> {
  const { victim } = faultKind(fault);
  const candidates = (['primary', 'backup'] as const).filter((side) => side !== victim);
  while (now() - faultAtMs < SURVIVE_TIMEOUT_MS) {
    for (const side of candidates) {
      const status = await pair.status(side);
      if (status?.state !== 'needs-backup') continue;
      return { faultAtMs, survivor: side, ...times(status, side, faultAtMs, heard) };
    }
    if (candidates.every((side) => pair.child(side).end !== null)) break;
    await sleep(POLL_MS);
  }
  return { faultAtMs, survivor: null, detectMs: null, goliveMs: null, drainMs: null };
}

function times(
  status: SideStatus,
  side: Side,
  faultAtMs: number,
  heard: readonly Heard[],
): Pick<Aftermath, 'detectMs' | 'goliveMs' | 'drainMs'> {
  const { failover } = status;
  if (failover !== null && failover.total_ms !== null) {
    // The backup's own account, on the same host's clock.
    const detectMs = Math.max(0, failover.detected_at_ms - faultAtMs);
    return {
      detectMs: round(detectMs),
      goliveMs: round(detectMs + failover.total_ms),
      drainMs: failover.drain_ms === null ? null : round(failover.drain_ms),
    };
  }
  // A primary that lost its backup: what it said, when we heard it.
  const since = heard.filter((one) => one.side === side && one.atMs >= faultAtMs);
  const lost = since.find(({ event }) => event === 'backup-lost' || event === 'primary-lost');
  const alone = since.find(({ event }) => event === 'needs-backup');
  return {
    detectMs: lost === undefined ? null : round(lost.atMs - faultAtMs),
    goliveMs: round((alone?.atMs ?? now()) - faultAtMs),
    drainMs: null,
  };
}

export function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
