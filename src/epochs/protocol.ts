// SPDX-License-Identifier: Apache-2.0
/**
 * A protocol as data: what the mechanisms (exit log, courier, replica) go by. They never ask
 * for its name; a protocol is a file of numbers in this folder and a line in protocols.ts.
 * Everything here is read: what is the same for all protocols there are is not a choice yet.
 */
import type { CutEvent } from './events.ts';

/** When the courier seals a batch. */
export interface SealNumbers {
  /** Inputs and console bytes wait at most so long for a batch. */
  readonly batchUs: number;
  /** Number of records that seal a batch at once. */
  readonly recordsMax: number;
  /** Spacing of batches that only move the horizon, while the guest computes; 0: none. */
  readonly horizonBusyUs: number;
  /** The same while it idles. Also how often to look for what QEMU does not tell. */
  readonly horizonIdleUs: number;
  /** Instructions since the last seal that count as busy. */
  readonly busyInstructions: number;
  /**
   * Instructions from one stop to the next: there a batch is sealed, and the guest waits for
   * its ack; 0: it runs on. Only while outputs wait for acks, too.
   */
  readonly stopInstructions: number;
  /**
   * A batch ends where an epoch does (`cut`), and the state of that epoch goes before it; else
   * nothing of the above but `recordsMax` counts while outputs wait for acks.
   */
  readonly atCuts: boolean;
}

/** No epoch is asked for that is longer, nor stretched beyond it. */
export const INTERVAL_MS_MAX = 10_000;

/** How far the time between two cuts may be stretched, and for what (cut-pace.ts). */
export interface StretchNumbers {
  readonly everyMsMax: number;
  /** The guest stands still for cuts: of the time from one to the next, so much at most. */
  readonly pauseShareMax: number;
  /** An epoch's way to the backup takes so much of it at most. */
  readonly transferShareMax: number;
}

/** When an epoch of a live VM ends, for a protocol by checkpoint. */
export interface CutNumbers {
  /** Host time since the last cut. */
  readonly everyMs: number;
  /** Null: it is that, whatever it costs. */
  readonly stretch: StretchNumbers | null;
  /** Pages that the guest writes, for the event PAGES; 0: it never happens. */
  readonly pagesMax: number;
  /** A packet of the guest waits so long at most. */
  readonly outputWaitUs: number;
  /** The guest waits while more epochs are not committed. */
  readonly inFlightMax: number;
  /** It ends when one of these has happened, before the guest goes on. */
  readonly events: readonly CutEvent[];
  /** What of the guest's disk writes is shipped: the blocks, or where in its memory they lie. */
  readonly disk: DiskMode;
}

export const DISK_MODES = ['blocks', 'io-log'] as const;
export type DiskMode = (typeof DISK_MODES)[number];

export interface Protocol {
  readonly name: string;
  readonly seal: SealNumbers;
  /** Null: the log alone is shipped, and no epoch is cut. */
  readonly cut: CutNumbers | null;
  /** How many followers hold the log up to an output before it leaves; 0: it does not wait. */
  readonly commit: number;
  readonly pace: {
    /** The vCPU waits when its follower is further behind (lag.ts). */
    readonly lagMsMax: number;
  };
  /** What can take over (replica/follower/): a VM that executes the log, or an image of one. */
  readonly follower: 'replaying' | 'image';
}

/** The keys of VM.toml's [replication] that protocols are made of. */
export interface ProtocolOptions {
  readonly batchUsMax: number;
  readonly lagMsMax: number;
  readonly epochInstructions: number;
  readonly intervalMs: number;
  /** Null: the protocol's own. */
  readonly intervalMsMax: number | null;
  readonly epochPagesMax: number | null;
  readonly outputWaitUsMax: number;
  readonly disk: DiskMode;
}
