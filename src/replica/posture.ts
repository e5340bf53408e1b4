// SPDX-License-Identifier: Apache-2.0
/**
 * What a replica does at the moment: it waits for a backup to power its VM on, it follows a
 * VM, or its VM leads. Verbs and facts are the same in each; replica.ts has the one there is.
 */
import type { Arbiter, Claimant } from '../arbiter/arbiter.ts';
import type { Clock } from '../base/clock.ts';
import type { Instructions, Position } from '../base/position.ts';
import type { CutInterval } from '../epochs/cut-pace.ts';
import type { Protocol } from '../epochs/protocol.ts';
import type { Unprotected } from '../vm/config.ts';
import type { Terms, VmFacts } from '../wire/hello.ts';
import type { Loss, PeerSession } from '../wire/session.ts';
import type { DiskError } from './disk-watch.ts';
import type { FailoverTimes } from './failover.ts';
import type { Host } from './greet.ts';
import type { Lead } from './lead.ts';
import type { Outcome } from './outcome.ts';
import type { Phase } from './phase.ts';
import type { BatchLog, Generation, Report, StateFacts, Vm } from './ports.ts';

/** What every replica is given: who it is, and ports to the world. */
export interface ReplicaOptions {
  readonly clock: Clock;
  readonly report: Report;
  readonly arbiter: Arbiter;
  readonly claimant: Claimant;
  readonly protocol: Protocol;
  readonly generation: Generation;
  /** What a live VM does that has no backup. */
  readonly unprotected: Unprotected;
  readonly console: (bytes: Buffer) => void;
  /** What the guard in the guest says, and may leave. */
  readonly guard: (bytes: Buffer) => void;
}

/** The facts behind `status`. */
export interface ReplicaFacts {
  readonly term: number;
  /** Hex; null: it has no VM, and knows of none. */
  readonly vmId: string | null;
  readonly vm: Vm | null;
  readonly peer: PeerSession | null;
  /** Last batch sealed, or received. */
  readonly sequence: bigint | null;
  /** Last batch that the backup holds. */
  readonly ackedSequence: bigint | null;
  /** What the backup has executed. */
  readonly backupPosition: Position | null;
  readonly lagMs: number | null;
  readonly lagInstructions: Instructions | null;
  /** The primary is slowed because its backup is behind. */
  readonly throttled: boolean;
  /** From one cut of the live VM to the next; null: none is made. */
  readonly cutInterval: CutInterval | null;
  /** Bytes of log, shipped and received. */
  readonly logBytes: number;
  /** Batches sealed that wait for an ack. */
  readonly batchesHeld: number;
  readonly outputsStopped: string | null;
  readonly logError: string | null;
  /** Why this side is not to be relied on: its disk, its courier or its log; null: it is well. */
  readonly sick: string | null;
  readonly diskError: DiskError | null;
  /** The last epoch in the image that can take over; null: none, or no image. */
  readonly imageEpoch: bigint | null;
  /** Epochs in it that were compared with the primary's digest, and equal. */
  readonly imageCompared: number | null;
  /** What was sent of epochs; null: this side does not lead. */
  readonly state: StateFacts | null;
  /** How it took over, if it did. */
  readonly failover: FailoverTimes | null;
  /** How the last backup was lost, and what the fence said then. */
  readonly lastLoss: Loss | null;
  readonly fence: FenceFacts | null;
}

export interface FenceFacts {
  readonly ms: number;
  readonly result: string;
}

export const NO_FACTS: ReplicaFacts = {
  term: 0,
  vmId: null,
  vm: null,
  peer: null,
  sequence: null,
  ackedSequence: null,
  backupPosition: null,
  lagMs: null,
  lagInstructions: null,
  throttled: false,
  cutInterval: null,
  logBytes: 0,
  batchesHeld: 0,
  outputsStopped: null,
  logError: null,
  sick: null,
  diskError: null,
  imageEpoch: null,
  imageCompared: null,
  state: null,
  failover: null,
  lastLoss: null,
  fence: null,
};

export interface Posture {
  facts(): ReplicaFacts;
  /** Types at the guest's console; false: it takes nothing here and now. */
  typeConsole(bytes: Uint8Array): boolean;
  /** The same at the port of the guard in the guest. */
  typeGuard(bytes: Uint8Array): boolean;
  /** The guest's reset button; false: there is no live VM here that goes on. */
  reset(): boolean;
  stop(options: { powerdown: boolean }): void;
  /** Stops without ceremony. */
  abort(reason: string, code?: 'failure' | 'fenced'): void;
  /** @throws UnderstudyError not-running when there is nobody to switch over to or from */
  promote(): Promise<void>;
  /** Nothing of it happens any more. */
  close(): void;
  /** After `close`: no QEMU is left, its logs are closed. Never rejects. */
  tearDown(): Promise<void>;
}

/** A posture that a replica begins with. */
export interface Beginning extends Posture {
  /** @throws UnderstudyError image-older | arbiter-unreachable | fenced */
  start(): Promise<void>;
}

/** A VM that is live, and what a replica needs to lead with it. */
export interface Leading {
  readonly vm: Vm;
  readonly term: number;
  /** A survivor's is the one that it has received, which goes on. */
  readonly log: BatchLog;
  readonly facts: VmFacts;
  /** The term apart: it grows. */
  readonly terms: Omit<Terms, 'term'>;
  /** How it came to lead, of a survivor, and the bytes of log that it received before. */
  readonly survived: { readonly failover: FailoverTimes; readonly logBytes: number } | null;
}

/** What a posture tells its replica. */
export interface Self {
  readonly phase: Phase;
  /** Strangers that come are this one's to judge and to admit. */
  host(host: Host): void;
  /** Its VM is live: another posture takes over. */
  lead(now: Leading): Lead;
  /** Once: it is closed, and torn down. */
  end(outcome: Outcome): void;
}
