// SPDX-License-Identifier: Apache-2.0
/**
 * A protocol as data: what the mechanisms (exit log, courier, replica) go by. They never ask
 * for its name; a protocol is a file of numbers in this folder and a line in registry.ts.
 */

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
}

export interface Protocol {
  readonly name: string;
  /** What a follower is sent. */
  readonly ships: 'exit-log';
  /** When full state is cut and sent; null: only for a follower that joins. */
  readonly cut: null;
  readonly seal: SealNumbers;
  /** An output leaves when so many followers hold the log up to it. */
  readonly commit: 1;
  readonly pace: {
    /** The vCPU waits when its follower is further behind (lag.ts). */
    readonly lagMsMax: number;
  };
  /** What can take over: a VM that executes the log. */
  readonly follower: 'replaying';
}

/** The keys of VM.toml's [replication] that protocols are made of. */
export interface ProtocolOptions {
  readonly batchUsMax: number;
  readonly lagMsMax: number;
  readonly epochInstructions: number;
}
