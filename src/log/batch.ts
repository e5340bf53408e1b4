// SPDX-License-Identifier: Apache-2.0
/**
 * Decoding of batches for people: inspect, diff, verify. Lazy, and off the hot
 * path, where the addon moves whole batches.
 *
 * A batch is read in place. Take only frames that `checkFrame` has verified: the
 * canonical layout (schema/log.capnp) is relied on here.
 */
import { checkFrame } from '../../native/kvm-exit-log/index.ts';
import { assert } from '../base/assert.ts';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { atIcount, comparePositions, type Point, type Position } from '../base/position.ts';
import { FRAME, PREFIX_BYTES } from './frame.ts';
import { kindHasPayload } from './kinds.ts';

/** Raised for any change that a reader of this version would misread (docs/log-format.md). */
export const LOG_VERSION = 1;
export const BATCH_RECORDS_MAX = 4096;
export const BATCH_DATA_BYTES_MAX = 1024 * 1024;

const WORD = 8;
/** Offset of the header's first word: after segment table and root pointer. */
const HEADER_OFFSET = PREFIX_BYTES + 2 * WORD;
/** Offset of the first record: after 17 header words, 2 pointers and the list's tag. */
const RECORDS_OFFSET = HEADER_OFFSET + 20 * WORD;
const RECORD_BYTES = 32;
/** Bytes of a batch frame up to its first record. */
export const BATCH_HEADER_BYTES = RECORDS_OFFSET;

/** schema/log.capnp documents the fields. */
export interface BatchHeader {
  readonly headerChecksum: bigint;
  readonly bodyChecksum: bigint;
  /** 32 hex digits. */
  readonly vmId: string;
  readonly logVersion: number;
  readonly recordCount: number;
  readonly term: number;
  readonly dataBytes: number;
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly firstIcount: bigint;
  readonly lastIcount: bigint;
  readonly horizon: Position;
  readonly recordBase: bigint;
  readonly dataBase: bigint;
  readonly outputsReleased: bigint;
  readonly sealedAtNs: bigint;
  readonly prevChecksum: bigint;
  /** Ordinal after its last record. */
  readonly recordEnd: bigint;
  /** What the next batch names as `prevChecksum`. */
  readonly checksum: bigint;
}

export interface LogRecord {
  /** Its place since power-on, from 0. */
  readonly ordinal: bigint;
  readonly point: Point;
  readonly vtimeNs: bigint;
  /** KIND in kinds.ts. */
  readonly kind: number;
  readonly channel: number;
  /** Bytes; of BLK_DONE the result as an unsigned number, see `blkResult`. */
  readonly len: number;
  readonly arg: bigint;
  /** View into the frame; null for kinds without payload. */
  readonly payload: Uint8Array | null;
}

/** Hashes of VM state at a position: the payload of DIGEST. */
export interface Digest {
  readonly cpu: bigint;
  readonly ram: bigint;
  readonly devices: bigint;
  /** The output hash chain. */
  readonly outputs: bigint;
  readonly outputsCount: bigint;
}

/** The header of the batch frame at `offset`, which must be there whole. */
export function readBatchHeader(buf: Uint8Array, offset: number): BatchHeader {
  assert(buf.length - offset >= RECORDS_OFFSET, 'a whole batch frame is at the offset');
  const view = new DataView(buf.buffer, buf.byteOffset + offset, RECORDS_OFFSET);
  const word = (index: number): number => HEADER_OFFSET + index * WORD;
  const u64 = (index: number): bigint => view.getBigUint64(word(index), true);
  const headerChecksum = u64(0);
  const bodyChecksum = u64(1);
  const recordCount = view.getUint32(word(4) + 4, true);
  const recordBase = u64(12);
  return {
    headerChecksum,
    bodyChecksum,
    vmId: vmIdText(buf.subarray(offset + word(2), offset + word(4))),
    logVersion: view.getUint16(word(4), true),
    recordCount,
    term: view.getUint32(word(5), true),
    dataBytes: view.getUint32(word(5) + 4, true),
    epoch: u64(6),
    sequence: u64(7),
    firstIcount: u64(8),
    lastIcount: u64(9),
    horizon: { point: atIcount(u64(10)), vtimeNs: view.getBigInt64(word(11), true) },
    recordBase,
    dataBase: u64(13),
    outputsReleased: u64(14),
    sealedAtNs: u64(15),
    prevChecksum: u64(16),
    recordEnd: recordBase + BigInt(recordCount),
    checksum: headerChecksum ^ bodyChecksum,
  };
}

/**
 * Called with a record's index in the batch and its fields as numbers, exact up to
 * 2^53; `record(index)` has the rest.
 */
export type RecordScan = (
  index: number,
  icount: number,
  vtimeNs: number,
  kind: number,
  channel: number,
  len: number,
  arg: number,
) => void;

/** A verified batch; records are decoded when asked for. */
export class Batch {
  readonly header: BatchHeader;
  readonly #buf: Uint8Array;
  readonly #offset: number;
  readonly #view: DataView;

  private constructor(buf: Uint8Array, offset: number, bytes: number) {
    this.header = readBatchHeader(buf, offset);
    this.#buf = buf;
    this.#offset = offset;
    this.#view = new DataView(buf.buffer, buf.byteOffset + offset, bytes);
  }

  /**
   * Verifies the frame and decodes its header.
   * @throws CorruptLogError, also for a frame of another type
   */
  static open(buf: Uint8Array, offset: number, available: number): Batch {
    const info = checkFrame(buf, offset, available);
    if (info.type !== FRAME.BATCH) {
      throw new CorruptLogError(`frame type: expected a batch (1), found ${info.type}`);
    }
    return new Batch(buf, offset, info.bytes);
  }

  /** Bytes of the whole frame. */
  get bytes(): number {
    return this.#view.byteLength;
  }

  /** The whole frame: what goes to a peer or a segment. */
  get frame(): Uint8Array {
    return this.#buf.subarray(this.#offset, this.#offset + this.bytes);
  }

  /** Up to where the log is complete with it: its horizon, or its last record where that is later. */
  get covered(): Position {
    const { horizon, recordCount } = this.header;
    if (recordCount === 0) return horizon;
    const { point, vtimeNs } = this.record(recordCount - 1);
    return comparePositions({ point, vtimeNs }, horizon) > 0 ? { point, vtimeNs } : horizon;
  }

  /** The record at this index of the batch. */
  record(index: number): LogRecord {
    assert(index >= 0 && index < this.header.recordCount, 'the batch has such a record');
    const at = RECORDS_OFFSET + index * RECORD_BYTES;
    const view = this.#view;
    const kind = view.getUint16(at + 16, true);
    const len = view.getUint32(at + 20, true);
    const arg = view.getBigUint64(at + 24, true);
    return {
      ordinal: this.header.recordBase + BigInt(index),
      point: atIcount(view.getBigUint64(at, true)),
      vtimeNs: view.getBigInt64(at + 8, true),
      kind,
      channel: view.getUint16(at + 18, true),
      len,
      arg,
      payload: kindHasPayload(kind) ? this.#payload(arg, len) : null,
    };
  }

  *records(): Generator<LogRecord, void, undefined> {
    for (let index = 0; index < this.header.recordCount; index++) yield this.record(index);
  }

  /** All records in order, without an object for each: for sums over millions of them. */
  scan(each: RecordScan): void {
    const view = this.#view;
    const u32 = (at: number): number => view.getUint32(at, true);
    const high = 2 ** 32;
    for (let index = 0; index < this.header.recordCount; index++) {
      const at = RECORDS_OFFSET + index * RECORD_BYTES;
      each(
        index,
        u32(at) + u32(at + 4) * high,
        u32(at + 8) + view.getInt32(at + 12, true) * high,
        view.getUint16(at + 16, true),
        view.getUint16(at + 18, true),
        u32(at + 20),
        u32(at + 24) + u32(at + 28) * high,
      );
    }
  }

  #payload(arg: bigint, len: number): Uint8Array {
    const dataAt = RECORDS_OFFSET + this.header.recordCount * RECORD_BYTES;
    const from = this.#offset + dataAt + Number(arg - this.header.dataBase);
    return this.#buf.subarray(from, from + len);
  }
}

/** Result of a BLK_DONE: 0 or -errno. */
export function blkResult(record: LogRecord): number {
  return record.len | 0;
}

/** The payload of a DIGEST record. */
export function readDigest(payload: Uint8Array): Digest {
  if (payload.length < 40) {
    throw new CorruptLogError(`digest: expected at least 40 bytes, found ${payload.length}`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  return {
    cpu: view.getBigUint64(0, true),
    ram: view.getBigUint64(8, true),
    devices: view.getBigUint64(16, true),
    outputs: view.getBigUint64(24, true),
    outputsCount: view.getBigUint64(32, true),
  };
}

/** A VM's identity as text: 32 hex digits. */
export function vmIdText(vmId: Uint8Array): string {
  return Buffer.from(vmId.buffer, vmId.byteOffset, vmId.length).toString('hex');
}
