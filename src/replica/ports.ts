// SPDX-License-Identifier: Apache-2.0
/**
 * What the pair's state machines need of the world: a clock, a QEMU with its
 * ring, a log, a console. The daemon gives them the real ones (adapters.ts), the
 * simulation (test/simulation/) its own, with time and faults under control.
 */
import type { Stuck } from '../../native/kvm-exit-log/courier.ts';
import type {
  ShipFacts as CourierFacts,
  Health,
  ReceiveFacts,
  StateFacts,
} from '../../native/kvm-exit-log/courier-words.ts';
import type { VmPlace } from '../../native/kvm-exit-log/index.ts';
import type { UnderstudyError } from '../base/errors.ts';
import type { Position } from '../base/position.ts';
import type { Protocol, SealNumbers } from '../epochs/protocol.ts';
import type { FirstBatch, LogEntrance, Origin, Start } from '../log/entrance.ts';
import type { DiskNews } from '../vm/disk-news.ts';
import type { Holds } from '../vm/holds.ts';
import type { Sent } from '../wire/joining.ts';
import type { PeerSession } from '../wire/session.ts';

/** exitlog_state of the ABI. */
export type VmState =
  | 'init'
  | 'recording'
  | 'replaying'
  | 'ended'
  | 'diverged'
  | 'failed'
  | 'waiting';

export interface RingSnapshot {
  readonly state: VmState;
  /** 'poweroff' | 'stop' when state is 'ended'. */
  readonly endReason: string | null;
  readonly position: Position;
  /** Heartbeats of QEMU's io thread. */
  readonly heartbeat: bigint;
  readonly visits: bigint;
  /** Packets since power-on, and those of them really sent. */
  readonly outputs: bigint;
  readonly outputsReleased: bigint;
  /** Records in IN not yet executed. */
  readonly inPending: number;
  /** CLOCK_MONOTONIC when QEMU went live, or 0. */
  readonly liveAtNs: bigint;
  /** By how much a live VM's time of day is less than this host's; slewed, within bounds. */
  readonly clockBehindNs: bigint;
  /** What of a live VM can end an epoch, by kind, and the epochs that ended for it. */
  readonly events: Readonly<Record<string, { readonly happened: bigint; readonly cuts: bigint }>>;
  readonly epochs: bigint;
  /** How long the guest stood still to have them cut. */
  readonly epochPages: bigint;
  readonly epochPauseNs: bigint;
  readonly epochPauseNsMax: bigint;
  /** The guest may stand still because nobody takes what it has changed. */
  readonly stateIsFull: boolean;
  readonly epochPauseNsP99: bigint;
  /** Disk writes, or parts of them, that went as references; pages that could not. */
  readonly epochReferences: bigint;
  readonly epochVersions: bigint;
  /** What QEMU says went wrong, or null. */
  readonly error: string | null;
}

export type { VmPlace };

export interface Ring {
  /** Types at the console of a live VM; false: refused, too much waits already. */
  typeConsole(bytes: Uint8Array): boolean;
  /** The same at the port of the guard in the guest. */
  typeGuard(bytes: Uint8Array): boolean;
  powerdown(): boolean;
  /** The reset button of a live VM; false: not now. */
  reset(): boolean;
  /** @param alone its outputs need no acknowledgement */
  goLive(alone: boolean): void;
  /** Outputs need no acknowledgement any more. */
  detach(): void;
  /** Undoes it: what is put out from now on waits again. */
  undetach(): void;
  stop(): void;
  snapshot(): RingSnapshot;
  /** Where the VM is, for who asks all the time. */
  place(): VmPlace;
}

export interface VmExit {
  /** ended: at its END; killed: by us; diverged: replay broke; hung: by the watchdog. */
  readonly reason: 'ended' | 'diverged' | 'killed' | 'hung' | 'failed';
  /** For people. */
  readonly message: string;
}

export interface Vm {
  readonly ring: Ring;
  readonly holds: Holds;
  readonly pid: number;
  onExit(run: (exit: VmExit) => void): void;
  /** A disk of its host does not answer; of a live VM also: is full, or fails. */
  onDisk(run: (news: DiskNews) => void): void;
  /** After the `onExit` callbacks; never rejects. */
  readonly exited: Promise<void>;
  /** Steps 2 to 4 and 8 begin: the log of this VM, which is live. Once. */
  ship(options: ShippingOptions): Shipping;
  /** Steps 5 and 6 begin: the log that comes from a primary. Once. */
  receive(options: ReceivingOptions): Receiving;
  /** What a new backup is given of it, once it is live and ships. */
  readonly source: StateSource;
  /** SIGKILL to this very process. */
  kill(): void;
  /** Finishes the logs, then frees the ring; after exit. Never rejects. */
  close(): Promise<void>;
}

/** Everything of a live VM that a new backup needs. */
export interface StateSource {
  /** Why it cannot be given, or null. */
  readonly refusal: string | null;
  /**
   * Sends a backup the disks where they differ, then a checkpoint, while the VM runs on.
   * @param have xxh64 of each block of each disk, as the backup has them
   * @param progress 0 to 100
   * @returns null: ended by the signal
   * @throws UnderstudyError checkpoint-failed, file-io
   */
  give(
    to: PeerSession,
    have: readonly BigUint64Array[],
    progress: (percent: number, doing: string) => void,
    signal: AbortSignal,
  ): Promise<GivenState | null>;
}

/** What a joining backup has been given, once it has all. */
export interface GivenState {
  readonly start: Start;
  /** Frames that it took. */
  readonly pieces: bigint;
  /** How long the guest stood still. */
  readonly pauseMs: number;
}

export interface StateSinkEvents {
  /** The first byte is about to be written. */
  receiving(): void;
  /** Peer-protocol, disk-full, log-write: nothing more is written. Once. */
  failed(error: UnderstudyError): void;
}

/** Where a backup that joins a running VM puts what it gets. */
export interface StateSink {
  /** xxh64 of each block (wire/joining.ts) of each disk, as it is here. */
  blocks(): Promise<readonly BigUint64Array[]>;
  /** State comes over this connection from now on. Once. @throws UnderstudyError disk-full, log-write */
  open(from: PeerSession, events: StateSinkEvents): void;
  /**
   * The disks have come; these files follow.
   * @throws UnderstudyError peer-protocol, disk-full, log-write
   */
  checkpoint(manifest: string): void;
  /**
   * Everything was sent: it is verified, and the disks are as at the checkpoint.
   * @returns null: closed, or `failed`
   * @throws UnderstudyError peer-protocol, log-corrupt, disk-full, log-write
   */
  finish(sent: Sent): Promise<Origin | null>;
  /** The VM is here, and may go on from here. */
  entitled(): void;
  /** The peer has to wait: its silence is of our making. */
  readonly pressed: boolean;
  /** Nothing more comes; resolves when nothing is written any more. Idempotent. */
  close(): Promise<void>;
}

/** The append-only log of one side; `receive`, `ship`, or one after the other, write to it. */
export interface BatchLog {
  /** Frees what nobody has taken over. */
  close(): void;
}

export interface ShippingOptions {
  readonly seal: SealNumbers;
  readonly commit: Protocol['commit'];
  readonly cut: Protocol['cut'];
  readonly vmId: Buffer;
  readonly term: number;
  readonly durability: 'memory' | 'disk';
  /** A new one; or the one that this VM has received, which goes on. */
  readonly log: BatchLog;
  /** Console bytes that may be shown. */
  readonly console: (bytes: Buffer) => void;
  /** The same of the port of the guard in the guest. */
  readonly guard: (bytes: Buffer) => void;
  /** The log cannot be written; called once. */
  readonly logFailed: (reason: string) => void;
  /** Something stands still, here (`disk`, `courier`) or there (`acks`): why. */
  readonly stuck: (what: Stuck, message: string) => void;
  /** Acks came; called every few ms at most. */
  readonly progress: () => void;
}

/** What the state machines go by, of all that the courier counts. */
export type ShipFacts = Pick<
  CourierFacts,
  | 'sequence'
  | 'ackedSequence'
  | 'held'
  | 'bytes'
  | 'allAcked'
  | 'executed'
  | 'backupPending'
  | 'nextSend'
  | 'catchingUp'
  | 'state'
  | 'end'
  | keyof Health
>;

/**
 * The sending side of the log, with the output gate (addon/ship/gate.h): no output
 * leaves before the ack that covers it and before our own log has it.
 */
export interface Shipping {
  /** Why outputs are stopped, or null. */
  readonly closedReason: string | null;
  /** Outputs need no acks any more. */
  readonly detached: boolean;
  /** Why our own log is incomplete, or null. */
  readonly logError: string | null;
  /**
   * From now on batches go to this backup.
   * @param from its first one, in our own log; default: the next that is sealed
   */
  attach(session: PeerSession, from?: LogEntrance): void;
  /** The fence of this term is won: outputs leave without acks. */
  detach(term: number): void;
  /** Outputs wait for acks again, from the next batch on. */
  protect(): void;
  /** While epochs are cut: so long at most from one to the next, until another backup comes. */
  cutEvery(everyMs: number): void;
  /** Nothing leaves any more, whatever is acked. The first reason stays. */
  close(reason: string): void;
  /** Undoes a close that was for a hand-over which did not happen; not a failed write. */
  reopen(): void;
  /** Seals and sends everything that is in the ring, whatever the policy says. */
  flush(): Promise<void>;
  /** Nothing is sealed any more. */
  stop(): void;
  facts(): ShipFacts;
}

export interface ReceivingOptions {
  /** Batches come from here, acks go there. */
  readonly session: PeerSession;
  readonly vmId: Buffer;
  readonly term: number;
  readonly durability: 'memory' | 'disk';
  readonly log: BatchLog;
  /** The first batch that comes, of a backup that starts at a checkpoint. */
  readonly start?: FirstBatch;
  /** The first batch came. */
  readonly first: () => void;
  readonly console: (bytes: Buffer) => void;
  readonly guard: (bytes: Buffer) => void;
  /** The log cannot be stored: no ack will come any more. Called once. */
  readonly storeFailed: (reason: string) => void;
  /** Its disk, or its courier, stands still: why. */
  readonly stuck: (what: Stuck, message: string) => void;
  /** What was received is not the primary's VM: why. */
  readonly diverged: (reason: string) => void;
  /** The log's END came, and is stored. */
  readonly ended: () => void;
}

export type { Health, ReceiveFacts, StateFacts, Stuck };

export interface Receiving {
  /** No ack leaves any more: this side takes over, or gives up. What came is still replayed. */
  close(): void;
  /** An image's last whole epoch goes to the QEMU that waits. @throws file-io */
  handOver(): void;
  facts(): ReceiveFacts;
}

/**
 * The marks of this side's images: which power-on and term they are of (arbiter/newest.ts). One
 * that cannot be made is reported; the images then count as older than they are.
 */
export interface Generation {
  /** @throws UnderstudyError image-older: they are not known to be the newest; arbiter-unreachable */
  check(): Promise<void>;
  /**
   * What was before is fenced, and these images are the newest: before the power-on.
   * @param vmId 32 hex digits
   * @throws UnderstudyError as `check`; fenced, disk-full, log-write
   */
  powersOn(vmId: string): Promise<void>;
  /** Another side's VM changes them from now on. */
  follows(vmId: string, term: number): void;
  /** It went live here. */
  leads(vmId: string, term: number): void;
  /** It has ended, and they have all of it. */
  ended(vmId: string, term: number): void;
}

/** One line of what happens, for people and for the daemon's log. */
export type Report = (event: string, details?: Readonly<Record<string, unknown>>) => void;
