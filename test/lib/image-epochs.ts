// SPDX-License-Identifier: Apache-2.0
/** Epochs by hand: what a QEMU puts into its rings, and what a primary would send of them. */
import { writeSync } from 'node:fs';
import { type DraftRecord, writeBatch } from '../../bench/stand-ins/batches.ts';
import { VM_ID } from '../../bench/stand-ins/logs.ts';
import { type GuestRing, putPieces, stateFrame } from '../../native/kvm-exit-log/testing.ts';
import { CHECKPOINT_OF, KIND } from '../../src/log/kinds.ts';

export const PART = {
  BLOCKS: 0,
  DEVICES: 1,
  END: 2,
  BEGIN: 3,
  REFERENCES: 5,
  RAM: 16,
  DISK: 4096,
} as const;
export const PAGE = 4096;
/** Pages of main memory. */
export const PAGES = 16;
const EPOCH_END = CHECKPOINT_OF.EPOCH;
const HAS_DATA = 1;
/** offsetof(struct exitlog_shm, out_held), as test/native/abi.test.ts has it. */
const SHM_OUT_HELD = 600;

export interface PieceOf {
  readonly part: number;
  readonly offset?: number | bigint;
  readonly bytes?: number;
  readonly data?: Buffer;
  /** The data are one, of so many `bytes`. */
  readonly isPatch?: boolean;
  readonly isPacked?: boolean;
}

/** The part BLOCKS: one block, main memory. */
export function blocks(pages = PAGES, name = 'pc.ram'): Buffer {
  const text = Buffer.alloc(272);
  text.write(name);
  text.writeBigUInt64LE(BigInt(pages * PAGE), 256);
  text.writeBigUInt64LE(BigInt(pages * PAGE), 264);
  return text;
}

/** As the epoch before has left it. */
export const BEFORE = 1;

/** A struct exitlog_reference. */
export function reference(of: {
  readonly offset?: number | bigint;
  readonly at?: number | bigint;
  readonly bytes?: number;
  readonly disk?: number;
  readonly block?: number;
  readonly flags?: number;
}): Buffer {
  const { offset = 0, at = 0, bytes = PAGE, disk = 0, block = 0, flags = 0 } = of;
  const text = Buffer.alloc(24);
  text.writeBigUInt64LE(BigInt(offset), 0);
  text.writeBigUInt64LE(BigInt(at), 8);
  text.writeUInt32LE(bytes, 16);
  text.writeUInt16LE(disk, 20);
  text.writeUInt8(block, 22);
  text.writeUInt8(flags, 23);
  return text;
}

/** A page full of this. */
export function page(fill: string): Buffer {
  return Buffer.alloc(PAGE, fill);
}

/** Tells the courier, as QEMU does of a cut. */
export function notify(ring: GuestRing): void {
  const one = Buffer.alloc(8);
  one.writeBigUInt64LE(1n);
  writeSync(ring.notifyFd, one);
}

/** A live QEMU that is cut: its rings. */
export class CutGuest {
  readonly ring: GuestRing;
  icount = 0n;
  epoch = 0n;
  ordinal = 0n;
  /** What is shipped of them. */
  devices = Buffer.from('devices!');

  constructor(ring: GuestRing) {
    this.ring = ring;
    this.runs(0n);
  }

  /** It is so far now, and has put all before into OUT. */
  runs(instructions: bigint): void {
    this.icount += instructions;
    const { icount } = this;
    const counts = { outputs: 0n, released: 0n, visits: 0n };
    this.ring.says({ state: 'recording', ended: false, icount, ...counts });
  }

  begin(): void {
    this.epoch = 1n;
    this.put({ part: PART.BEGIN });
    this.put({ part: PART.BLOCKS, data: blocks() });
  }

  /** Pieces of the epoch that runs: a courier that is awake finds all of them, or none. */
  put(...pieces: PieceOf[]): void {
    putPieces(
      this.ring,
      ...pieces.map(({ part, offset = 0, bytes, data }) => ({
        part,
        flags: data === undefined ? 0 : HAS_DATA,
        offset: BigInt(offset),
        bytes: BigInt(bytes ?? data?.length ?? 0),
        epoch: this.epoch,
        data: data ?? null,
      })),
    );
  }

  record(kind: number, payload?: Buffer): void {
    this.#record(kind, 0n, payload);
  }

  /** The epoch ends here: its devices and END, then its record. */
  cut(): void {
    this.put({ part: PART.DEVICES, data: this.devices });
    this.put({ part: PART.END, offset: this.ordinal });
    this.#record(KIND.CHECKPOINT, this.epoch, undefined, EPOCH_END);
    this.epoch += 1n;
  }

  /** It ends, and some of its state comes later: until then its record, and what follows, is held. */
  cutBeforeItIsWhole(): void {
    const ordinal = this.ordinal;
    this.#hold(ordinal);
    this.#record(KIND.CHECKPOINT, this.epoch, undefined, EPOCH_END);
    this.#whole = () => {
      this.put({ part: PART.DEVICES, data: this.devices });
      this.put({ part: PART.END, offset: ordinal });
      this.epoch += 1n;
      this.#hold(0n);
    };
  }

  /** The rest of that, and its end. */
  whole(): void {
    this.#whole();
  }

  #whole = (): void => {};

  #hold(ordinal: bigint): void {
    const word = Buffer.alloc(8);
    word.writeBigUInt64LE(ordinal);
    writeSync(this.ring.shmFd, word, 0, word.length, SHM_OUT_HELD);
  }

  #record(kind: number, arg: bigint, payload?: Buffer, channel = 0): void {
    this.icount += 1n;
    const at = this.ring.put(kind, this.icount, 0, arg, payload, channel);
    if (at === null) throw new Error('the ring has no room');
    this.ordinal = at + 1n;
    this.runs(0n);
  }
}

/** What a primary sends: frames, in turn. */
export class EpochSender {
  epoch = 1n;
  #piece = 0n;
  #sequence = 0n;
  #records = 0n;
  #data = 0n;
  #checksum = 0n;

  /** The next piece; `change` makes it a wrong one. */
  state(
    { part, offset = 0, bytes = 0, data, isPatch = false, isPacked = false }: PieceOf,
    change: { readonly ordinal?: bigint; readonly epoch?: bigint } = {},
  ): Buffer {
    const frame = stateFrame({
      ordinal: change.ordinal ?? this.#piece,
      part,
      offset: BigInt(offset),
      epoch: change.epoch ?? this.epoch,
      bytes: BigInt(bytes),
      isPatch,
      isPacked,
      ...(data === undefined ? {} : { data }),
    });
    this.#piece += 1n;
    return frame;
  }

  /** END of this epoch, whose batch has so many records before its last one. */
  end(recordsBefore = 0, change: { readonly at?: bigint; readonly epoch?: bigint } = {}): Buffer {
    const offset = change.at ?? this.#records + BigInt(recordsBefore);
    return this.state({ part: PART.END, offset }, change);
  }

  batch(records: readonly DraftRecord[]): Buffer {
    const frame = writeBatch({
      vmId: VM_ID,
      sequence: this.#sequence,
      recordBase: this.#records,
      dataBase: this.#data,
      prevChecksum: this.#checksum,
      records,
    });
    this.#sequence += 1n;
    this.#records += BigInt(records.length);
    const sizes = records.map(({ payload }) => Math.ceil((payload?.length ?? 0) / 8) * 8);
    this.#data += BigInt(sizes.reduce((sum, bytes) => sum + bytes, 0));
    this.#checksum = frame.readBigUInt64LE(32) ^ frame.readBigUInt64LE(40);
    return frame;
  }

  /** The batch that ends this epoch. */
  last(records: readonly DraftRecord[] = []): Buffer {
    const end = record(KIND.CHECKPOINT, { arg: this.epoch, channel: EPOCH_END });
    const frame = this.batch([...records, end]);
    this.epoch += 1n;
    return frame;
  }

  /** A whole epoch of these pieces, with this on the console; the first has blocks so large. */
  whole(pieces: readonly PieceOf[], console: string, pages = PAGES): Buffer {
    const said = console === '' ? [] : [record(KIND.CHAR_OUT, { payload: Buffer.from(console) })];
    return Buffer.concat([
      ...(this.epoch === 1n ? [this.state({ part: PART.BLOCKS, data: blocks(pages) })] : []),
      ...pieces.map((piece) => this.state(piece)),
      this.state({ part: PART.DEVICES, data: Buffer.from('devices!') }),
      this.end(said.length),
      this.last(said),
    ]);
  }
}

export function record(
  kind: number,
  { arg = 0n, channel = 0, payload }: Partial<DraftRecord> = {},
): DraftRecord {
  const base = { icount: 0n, vtimeNs: 0n, kind, channel, len: payload?.length ?? 0, arg };
  return payload === undefined ? base : { ...base, payload };
}
