// SPDX-License-Identifier: Apache-2.0
/**
 * The courier: a thread per VM that carries the log. It seals, sends, stores,
 * acknowledges, fills and releases by itself, batch after batch; here are its
 * settings, its commands, and the few events that somebody has to decide about.
 */
import { assert } from '../../src/base/assert.ts';
import { atIcount, type Position } from '../../src/base/position.ts';
import type { SealNumbers } from '../../src/epochs/protocol.ts';
import type { Image } from './image.ts';
import type { ExitRing } from './index.ts';
import type { Link } from './link.ts';
import { type NativeCourier, type NativeLog, native } from './native.ts';

/** The open first file of a log; see src/log/log-file.ts. */
export type LogStart = NativeLog;

export interface CourierEvents {
  /** Console bytes that may be shown. */
  console(bytes: Buffer): void;
  /** The first batch came. */
  first(): void;
  /** The log's END was received, and is stored. */
  logEnded(): void;
  /** What is received into an image is not the primary's VM any more: why. */
  diverged(message: string): void;
  /** The log cannot be written: `errno` as ENOSPC. Once for each log. */
  logFailed(errno: string, path: string): void;
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

/** Where the log begins that a backup of a running VM gets. */
export interface ShipFrom {
  /** Sequence of the first batch that it gets: the one that has its checkpoint. */
  readonly sequence: bigint;
  /** Number of the segment file that has this batch; or of one before, which takes longer. */
  readonly segment: number;
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

/** The first batch that is due, where that is not the log's first. */
export interface ReceiveStart {
  readonly sequence: bigint;
  /** Its header's. */
  readonly recordBase: bigint;
  readonly dataBase: bigint;
  /** `checksum` of the batch before it. */
  readonly prevChecksum: bigint;
}

const QUEUE_BYTES_HIGH = 64 * 1024 * 1024;
const QUEUE_BYTES_LOW = 16 * 1024 * 1024;

/** Numbers of what the addon calls by name, as it says itself. */
const placesOf = (names: readonly string[]): ReadonlyMap<string, number> =>
  new Map(names.map((name, place) => [name, place]));
const FACTS = placesOf(native.courierWords.facts);
const COMMANDS = placesOf(native.courierWords.commands);
const EVENTS = native.courierWords.events;

function placeOf(name: string, places: ReadonlyMap<string, number>): number {
  const place = places.get(name);
  assert(place !== undefined, `the addon knows ${name}`);
  return place;
}

/** What a courier counts, as the addon lays it out. */
export class CourierWords {
  readonly words = new BigUint64Array(FACTS.size);

  ship(): ShipFacts {
    const fact = (name: string): bigint => this.#word(name);
    return {
      sequence: fact('sequence'),
      ackedSequence: fact('ackedEnd') - 1n,
      held: Number(fact('held')),
      bytes: Number(fact('shippedBytes')),
      records: Number(fact('shippedRecords')),
      allAcked: fact('allAcked') === 1n,
      executed: {
        point: atIcount(fact('executedIcount')),
        vtimeNs: BigInt.asIntN(64, fact('executedVtimeNs')),
      },
      backupPending: fact('backupPending'),
      horizon: {
        point: atIcount(fact('horizonIcount')),
        vtimeNs: BigInt.asIntN(64, fact('horizonVtimeNs')),
      },
      logBytes: Number(fact('logBytes')),
      outputsReleased: Number(fact('outputsReleased')),
      nextSend: fact('nextSend'),
      catchingUp: fact('catchingUp') === 1n,
      state: {
        bytes: Number(fact('stateBytes')),
        memoryBytes: Number(fact('memoryBytes')),
        diskBytes: Number(fact('diskBytes')),
        memoryPages: Number(fact('memoryPages')),
        shadowBytes: Number(fact('shadowBytes')),
      },
      end: {
        sequence: fact('sequence'),
        recordBase: fact('recordEnd'),
        dataBase: fact('dataEnd'),
        prevChecksum: fact('checksum'),
        segment: Number(fact('segment')),
      },
    };
  }

  receive(): ReceiveFacts {
    const fact = (name: string): bigint => this.#word(name);
    return {
      lastSequence: fact('lastEnd') === 0n ? null : fact('lastEnd') - 1n,
      storedSequence: fact('storedEnd') === 0n ? null : fact('storedEnd') - 1n,
      bytes: Number(fact('receivedBytes')),
      empty: fact('empty') === 1n,
      pressed: fact('pressed') === 1n,
      imageEpoch: fact('imageEpoch') === 0n ? null : fact('imageEpoch'),
      imageCompared: Number(fact('imageCompared')),
    };
  }

  /** The name of an event's number. */
  static event(kind: number): string {
    return EVENTS[kind] ?? 'ended';
  }

  #word(name: string): bigint {
    return this.words[placeOf(name, FACTS)] ?? 0n;
  }
}

/** What the sending side counts. */
export interface ShipFacts {
  /** Sequence of the next batch. */
  readonly sequence: bigint;
  /**
   * Sequence of the last batch that the backup has; -1n: none. For one that has joined, at first
   * the batch before the first that it gets.
   */
  readonly ackedSequence: bigint;
  /** Batches whose outputs have not left. */
  readonly held: number;
  readonly bytes: number;
  readonly records: number;
  /** The backup has acknowledged everything sealed, and no `flush` is under way. */
  readonly allAcked: boolean;
  /** What the backup has executed, as far as acks told. */
  readonly executed: Position;
  readonly backupPending: bigint;
  readonly horizon: Position;
  /** Segment headers included. */
  readonly logBytes: number;
  readonly outputsReleased: number;
  /** Sequence of the batch that the backup is sent next; without one `sequence`. */
  readonly nextSend: bigint;
  /** Before what is sealed now it has to be sent what is in our files. */
  readonly catchingUp: boolean;
  readonly state: StateFacts;
  /** Where the next batch will be, as a backup that gets the log from there on needs it. */
  readonly end: ReceiveStart & ShipFrom;
}

/** What was sent of epochs' state, or kept for a backup. */
export interface StateFacts {
  /** All STATE frames. */
  readonly bytes: number;
  /** Those of guest memory. */
  readonly memoryBytes: number;
  /** And of what the guest wrote to its disks. */
  readonly diskBytes: number;
  /** Pages of guest memory that were in them. */
  readonly memoryPages: number;
  /** Memory that it takes to know what the backup has of the guest's. */
  readonly shadowBytes: number;
}

/** What the receiving side counts. */
export interface ReceiveFacts {
  /** Null: no batch yet. */
  readonly lastSequence: bigint | null;
  readonly storedSequence: bigint | null;
  readonly bytes: number;
  /** QEMU's ring has everything that came. */
  readonly empty: boolean;
  /** The peer has to wait, because QEMU is behind. */
  readonly pressed: boolean;
  /** The last epoch in the image; null: there is none, or no image. */
  readonly imageEpoch: bigint | null;
  /** Epochs in it that were compared with the primary's digest, and equal. */
  readonly imageCompared: number;
}

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
    if (!this.#over) this.#native.command(placeOf(name, COMMANDS));
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
