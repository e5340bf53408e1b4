// SPDX-License-Identifier: Apache-2.0
/** What a ring tells of its QEMU, and is told for it (include/exitlog_abi.h). */
import type { Point, Position } from '../../src/base/position.ts';
import type { CutEvent } from '../../src/epochs/events.ts';
import type { EventCounts } from './events.ts';

export const RING_STATES = [
  'init',
  'recording',
  'replaying',
  'ended',
  'diverged',
  'failed',
  'waiting',
] as const;
export type RingState = (typeof RING_STATES)[number];

/** Where a VM is. */
export interface VmPlace {
  readonly position: Position;
  /** Grows while the vCPU thread lives. */
  readonly visits: bigint;
}

/**
 * A snapshot of what the QEMU process says about itself, and where it is. Counters are since
 * power-on.
 */
export interface RingStatus extends Position {
  readonly state: RingState;
  /** Valid in state `ended`. */
  readonly endReason: 'poweroff' | 'stop' | null;
  /** Grows every 50 ms while QEMU's io thread lives. */
  readonly heartbeat: bigint;
  /** Grows while the vCPU thread lives. */
  readonly visits: bigint;
  readonly injected: bigint;
  readonly outputs: bigint;
  readonly outputsReleased: bigint;
  readonly netInDropped: bigint;
  readonly idleNs: bigint;
  readonly waitNs: bigint;
  /** Epochs that were cut, pages in them, and how long the guest stood still for them. */
  readonly epochs: bigint;
  /** As `beginEpochs` has returned: QEMU has begun it. */
  readonly epochStarts: bigint;
  readonly epochPages: bigint;
  readonly epochPauseNs: bigint;
  readonly epochPauseNsMax: bigint;
  /** QEMU may wait for room in the ring of state. */
  readonly stateIsFull: boolean;
  /** What 99 of a hundred took at most, rounded up by a quarter at most; 0: there was none. */
  readonly epochPauseNsP99: bigint;
  /** Disk writes, or parts of them, that went as references; pages that could not. */
  readonly epochReferences: bigint;
  readonly epochVersions: bigint;
  readonly events: EventCounts;
  /** Checkpoints written, whole; given up (why is on QEMU's stderr). */
  readonly checkpoints: bigint;
  readonly checkpointFailures: bigint;
  /** Folder name of the last one that became whole. */
  readonly checkpoint: Point;
  /** Requests that are over: written, or given up. */
  readonly checkpointsAnswered: bigint;
  /** One was requested, and none has been begun since. */
  readonly fullCheckpointDue: boolean;
  readonly diskMarksDone: bigint;
  /** CLOCK_MONOTONIC when it went live, or 0n. */
  readonly liveAtNs: bigint;
  /** How much a live VM's time of day is behind the host's CLOCK_REALTIME. */
  readonly clockBehindNs: bigint;
  readonly commit: bigint;
  /** Where the vCPU waits; null: nowhere. */
  readonly bound: Point | null;
  readonly control: number;
  /** QEMU sleeps until the daemon does something. */
  readonly daemonWanted: boolean;
  /** Records in IN that QEMU has not taken yet. */
  readonly inPending: number;
  /** Records in OUT that are not sealed yet. */
  readonly outPending: number;
  /** JSON in states `diverged` and `failed`, else ''. */
  readonly error: string;
}

/** When epochs end (qemu/exitlog/cut/epoch.c). */
export interface EpochNumbers {
  /** ns from one cut to the next; 0n: none is made. */
  readonly everyNs: bigint;
  /** ns that a packet waits for a cut. */
  readonly packetNs: bigint;
  /** The guest waits while more epochs than this are not committed; at most 63. */
  readonly inFlight: number;
  /** A cut is due when one of these has happened, before the guest goes on; default none. */
  readonly events?: readonly CutEvent[];
  /** When the guest has written this many it is the event PAGES; default: it never is. */
  readonly pagesMax?: number;
  /** An epoch has where in memory the data of disk writes lie, not the data. */
  readonly ioLog?: boolean;
  /** The log has a digest of a cut so many instructions after the last; true: of each. */
  readonly digests: boolean | number;
}
