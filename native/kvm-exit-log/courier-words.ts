// SPDX-License-Identifier: Apache-2.0
/** What a courier counts, by name: the addon lays it out as numbers, and says itself in which order. */
import { assert } from '../../src/base/assert.ts';
import { atIcount, type Position } from '../../src/base/position.ts';
import { native } from './native.ts';

/** Where the log begins that a backup of a running VM gets. */
export interface ShipFrom {
  /** Sequence of the first batch that it gets: the one that has its checkpoint. */
  readonly sequence: bigint;
  /** Number of the segment file that has this batch; or of one before, which takes longer. */
  readonly segment: number;
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

/** @returns the number of a command */
export function commandOf(name: string): number {
  return placeOf(name, COMMANDS);
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
      ...this.#health(),
      state: {
        bytes: Number(fact('stateBytes')),
        memoryBytes: Number(fact('memoryBytes')),
        diskBytes: Number(fact('diskBytes')),
        memoryPages: Number(fact('memoryPages')),
        shadowBytes: Number(fact('shadowBytes')),
        transfers: Number(fact('transfers')),
        transferNs: Number(fact('transferNs')),
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
      ...this.#health(),
      imageEpoch: fact('imageEpoch') === 0n ? null : fact('imageEpoch'),
      imageCompared: Number(fact('imageCompared')),
    };
  }

  #health(): Health {
    const fact = (name: string): bigint => this.#word(name);
    return { stuckMs: Number(fact('stuckNs')) / 1e6, diskMs: Number(fact('awayNs')) / 1e6 };
  }

  /** The name of an event's number. */
  static event(kind: number): string {
    return EVENTS[kind] ?? 'ended';
  }

  #word(name: string): bigint {
    return this.words[placeOf(name, FACTS)] ?? 0n;
  }
}

export interface Health {
  /** How long our disk or our courier has stood still; 0: not longer than it may. */
  readonly stuckMs: number;
  /** How long what is read, written or synced just now has taken; 0: nothing is. */
  readonly diskMs: number;
}

/** What the sending side counts. */
export interface ShipFacts extends Health {
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
  /** Epochs that the backup has acknowledged, and what that took, one after the other. */
  readonly transfers: number;
  readonly transferNs: number;
}

/** What the receiving side counts. */
export interface ReceiveFacts extends Health {
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
