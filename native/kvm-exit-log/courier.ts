// SPDX-License-Identifier: Apache-2.0
/**
 * The courier: a thread per VM that carries the log. It seals, sends, stores,
 * acknowledges, fills and releases by itself, batch after batch; here are its
 * settings, its commands, and the few events that somebody has to decide about.
 */
import type { SealNumbers } from '../../src/epochs/protocol.ts';
import {
  CourierWords,
  commandOf,
  type ReceiveFacts,
  type ReceiveStart,
  type ShipFacts,
  type ShipFrom,
} from './courier-words.ts';
import type { Image } from './image.ts';
import type { ExitRing } from './index.ts';
import type { Link } from './link.ts';
import { type NativeCourier, type NativeLog, native } from './native.ts';

/** The open first file of a log; see src/log/log-file.ts. */
export type LogStart = NativeLog;

/** Ours: a read, write or sync of the log; the courier's thread; JavaScript. The peer's: its acks. */
export type Stuck = 'disk' | 'courier' | 'control' | 'acks';

/** How long each may make no progress. */
export interface Limits {
  readonly diskMs: number;
  readonly courierMs: number;
  readonly ackMs: number;
}

export interface CourierEvents {
  /** Console bytes that may be shown. */
  console(bytes: Buffer): void;
  /** The same of the guest's other serial port, where its guard speaks; not every VM has it. */
  guard?(bytes: Buffer): void;
  /** The first batch came. */
  first(): void;
  /** The log's END was received, and is stored. */
  logEnded(): void;
  /** What is received into an image is not the primary's VM any more: why. */
  diverged(message: string): void;
  /** The log cannot be written: `errno` as ENOSPC. Once for each log. */
  logFailed(errno: string, path: string): void;
  /** Once `watch` was called. What stands still for too long: why, for people. Once each time. */
  stuck?(what: Stuck, message: string): void;
  /** Acks came; at most one such call per `progressUs`. */
  progress(): void;
  /** QEMU broke a rule of the ring: nothing is carried any more. */
  broken(message: string): void;
}

export interface ShipOptions {
  /** 16 bytes. */
  readonly vmId: Uint8Array;
  readonly term: number;
  /** An output leaves when so many backups hold its log: 1; 0 for a recorder. */
  readonly acksNeeded: number;
  /** Written means fdatasynced. */
  readonly durable: boolean;
  readonly seal: SealNumbers;
  /**
   * A log of its own, which begins at power-on; null: there is none. Or `received`: what this
   * courier has received goes on, in the same files.
   */
  readonly log: LogStart | null | 'received';
}

export interface ReceiveOptions {
  readonly vmId: Uint8Array;
  readonly term: number;
  readonly durable: boolean;
  readonly log: LogStart;
  /** Received and not yet taken by QEMU: above, the peer has to wait, until below. */
  readonly queueBytesHigh?: number;
  readonly queueBytesLow?: number;
  /** Where epochs go; default: none come, and the ring's VM executes the log. */
  readonly image?: Image;
  /** Default: power-on. Else `ExitRing.startAt` comes before this courier. */
  readonly start?: ReceiveStart;
}

const QUEUE_BYTES_HIGH = 64 * 1024 * 1024;
const QUEUE_BYTES_LOW = 16 * 1024 * 1024;

export class Courier {
  readonly #native: NativeCourier;
  readonly #events: CourierEvents;
  readonly #words = new CourierWords();
  #flushed: (() => void)[] = [];
  #ended: (() => void)[] = [];
  #closing = false;
  #over = false;

  /** Takes the ring over: nobody else may seal, commit, fill or listen any more. */
  constructor(ring: ExitRing, events: CourierEvents, progressUs = 2000) {
    this.#events = events;
    this.#native = new native.Courier(
      ring.native,
      (kind, text, more, bytes) => this.#event(kind, text, more, bytes),
      progressUs,
    );
  }

  /**
   * Takes a connected link over, with what it has read and not told yet, and what is
   * queued: batches and acks are carried from now on, all else is still told by the link.
   * Another one when that is closed, else ERR_RING_STATE; what the earlier one had still to
   * tell is not told.
   * @param from the peer is to get the log from there on: first from our segment files,
   *   as fast as it reads, then as it is sealed. Default: what is sealed from now on.
   *   If a file cannot be read, or has not what it should, the link is `closed`
   *   (peer-lost) and all else goes on. ERR_RING_STATE if nothing is shipped or there is
   *   no log without a fault, or if outputs wait for acks of batches that this peer
   *   would not get; ERR_OUT_OF_RANGE for a batch after the next one. Nothing has changed then.
   */
  attach(link: Link, from?: ShipFrom): void {
    this.#native.attach(link.native, from);
  }

  /**
   * Begins with steps 2 to 4 and 8. Once. A log that was `received` continues where its last
   * batch ended: ERR_RING_STATE if nothing is received or not all of it is in the replay
   * ring, ERR_RING_CORRUPT if QEMU went live elsewhere.
   */
  ship(options: ShipOptions): void {
    this.#native.ship(options);
  }

  /** Begins with steps 5 and 6. Once. ERR_RING_STATE if the ring does not begin at `start`. */
  receive(options: ReceiveOptions): void {
    this.#native.receive({
      queueBytesHigh: QUEUE_BYTES_HIGH,
      queueBytesLow: QUEUE_BYTES_LOW,
      ...options,
      ...(options.image === undefined ? {} : { image: options.image.native }),
    });
  }

  /**
   * What the guest writes to its disks, from the next `ExitRing.beginEpochs` on, is kept for the
   * backup that comes next, in a file without a name in this folder. ERR_RING_STATE if nothing
   * is shipped; a system error. If the file cannot be written later, `attach` says so.
   */
  keepState(dir: string): void {
    this.#native.keepState(dir);
  }

  /**
   * What was received into an image, up to its last whole epoch, goes to the QEMU that waits
   * beside it: to this file (Image's `restFd`), and its log begins there. Once. ERR_RING_STATE
   * before that epoch is applied, or without one; a system error (ENOMEM).
   */
  handOver(fd: number): void {
    this.#native.handOver(fd);
  }

  /** From now on what stands still longer is told. */
  watch(limits: Limits): void {
    this.#native.watch(limits);
  }

  /**
   * Frames that the attached peer is sent at once if our disk, our courier, or JavaScript is
   * stuck (which renews no heartbeat then): that may not get to it.
   */
  lastWords(ofDisk: Uint8Array, ofCourier: Uint8Array, ofControl: Uint8Array): void {
    if (!this.#over) this.#native.lastWords(ofDisk, ofCourier, ofControl);
  }

  /**
   * Seals everything that is in the ring, whatever the policy says, and sends it (to a
   * backup that catches up: later, from the files).
   */
  flush(): Promise<void> {
    if (this.#over || this.#closing) return Promise.resolve();
    return new Promise((resolve) => {
      this.#flushed.push(resolve);
      this.#command('flush');
    });
  }

  /** Nothing is sealed any more. */
  stop(): void {
    this.#command('stopSealing');
  }

  /** Nothing leaves any more, whatever is acked. */
  closeGate(): void {
    this.#command('closeGate');
  }

  /** Undoes `closeGate`; not a failed write. */
  reopenGate(): void {
    this.#command('reopenGate');
  }

  /**
   * Outputs need neither ack nor log any more, and a peer that reads slowly does not
   * hold up the guest.
   * @param term of the batches that are sealed from now on, and of their acks. Not less
   *   than before: ERR_OUT_OF_RANGE
   */
  detach(term: number): void {
    if (!this.#over) this.#native.detach(term);
  }

  /**
   * Undoes `detach`: outputs of all batches that are sealed from now on wait for acks and
   * our log. What was sealed before has left, so a backup can take over without a
   * difference that anybody has seen only once it has acknowledged all of that: when
   * `ackedSequence` has reached the `sequence` that was next at this call, less one.
   * While the backup catches up nothing is sealed from here on; call it when it has.
   * ERR_RING_STATE if no ack could ever let outputs leave: a recorder, or without a log.
   */
  protect(): void {
    if (!this.#over) this.#native.protect();
  }

  /** No ack leaves any more; what has come is still replayed. */
  closeReceive(): void {
    this.#command('closeReceive');
  }

  shipFacts(): ShipFacts {
    this.#look();
    return this.#words.ship();
  }

  receiveFacts(): ReceiveFacts {
    this.#look();
    return this.#words.receive();
  }

  /** Resolves when the logs are synced and closed and the thread is done. */
  close(): Promise<void> {
    if (this.#over) return Promise.resolve();
    return new Promise((resolve) => {
      this.#ended.push(resolve);
      this.#closing = true;
      this.#native.close();
    });
  }

  /** Ends the thread, waiting for a system call of its own; facts stay as they are. Idempotent. */
  destroy(): void {
    if (!this.#over) this.#look();
    this.#end();
    this.#native.destroy();
  }

  #command(name: string): void {
    if (!this.#over) this.#native.command(commandOf(name));
  }

  #look(): void {
    if (!this.#over) this.#native.facts(this.#words.words);
  }

  #end(): void {
    this.#over = true;
    for (const resolve of [...this.#flushed.splice(0), ...this.#ended.splice(0)]) resolve();
  }

  #event(kind: number, text: string, more: string, bytes: Buffer): void {
    const events = this.#events;
    switch (CourierWords.event(kind)) {
      case 'console':
        events.console(bytes);
        return;
      case 'guard':
        events.guard?.(bytes);
        return;
      case 'first':
        events.first();
        return;
      case 'logFailed':
        events.logFailed(text, more);
        return;
      case 'logEnded':
        events.logEnded();
        return;
      case 'diverged':
        events.diverged(text);
        return;
      case 'stuck':
        events.stuck?.(text as Stuck, more);
        return;
      case 'progress':
        events.progress();
        return;
      case 'broken':
        events.broken(text);
        return;
      case 'flushed':
        for (const resolve of this.#flushed.splice(0)) resolve();
        return;
      default:
        this.#look();
        this.#end();
    }
  }
}
