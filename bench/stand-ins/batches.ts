// SPDX-License-Identifier: Apache-2.0
/**
 * Batches written from the document (docs/log-format.md) alone: neither the addon's
 * layout nor the generated code is used, so that tests compare two readings of it.
 */
import { crc32 } from 'node:zlib';
import { xxh64 } from '../../native/kvm-exit-log/index.ts';
import { kindHasPayload } from '../../src/log/kinds.ts';

export interface DraftRecord {
  readonly icount: bigint;
  readonly vtimeNs: bigint;
  readonly kind: number;
  readonly channel: number;
  readonly len: number;
  /** Only for kinds without payload. */
  readonly arg: bigint;
  readonly payload?: Uint8Array;
}

export interface DraftBatch {
  readonly vmId: Buffer;
  readonly sequence: bigint;
  readonly recordBase: bigint;
  readonly dataBase: bigint;
  readonly prevChecksum: bigint;
  readonly records: readonly DraftRecord[];
  readonly term?: number;
  readonly epoch?: bigint;
  readonly logVersion?: number;
  readonly horizon?: { icount: bigint; vtimeNs: bigint };
  readonly outputsReleased?: bigint;
  readonly sealedAtNs?: bigint;
}

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** Corrupts a message before its checksums are made; see test/native/fill.test.ts. */
export type Tamper = (message: DataView) => void;

export function writeBatch(draft: DraftBatch, tamper: Tamper = () => {}): Buffer {
  const { records } = draft;
  const dataBytes = records.reduce((sum, { payload }) => sum + padded(payload?.length ?? 0), 0);
  const words = 22 + records.length * 4 + dataBytes / 8;
  const frame = Buffer.alloc(16 + words * 8);
  const message = new DataView(frame.buffer, frame.byteOffset + 16, words * 8);
  const put = (word: number, value: bigint): void => message.setBigUint64(word * 8, value, true);
  const last = records.at(-1);
  const horizon = draft.horizon ?? { icount: last?.icount ?? 0n, vtimeNs: last?.vtimeNs ?? 0n };

  put(0, BigInt(words - 1) << 32n);
  put(1, (17n << 32n) | (2n << 48n));
  put(4, draft.vmId.readBigUInt64LE(0));
  put(5, draft.vmId.readBigUInt64LE(8));
  put(6, BigInt(draft.logVersion ?? 1) | (BigInt(records.length) << 32n));
  put(7, BigInt(draft.term ?? 1) | (BigInt(dataBytes) << 32n));
  put(8, draft.epoch ?? draft.sequence);
  put(9, draft.sequence);
  put(10, records[0]?.icount ?? horizon.icount);
  put(11, last?.icount ?? horizon.icount);
  put(12, horizon.icount);
  message.setBigInt64(13 * 8, horizon.vtimeNs, true);
  put(14, draft.recordBase);
  put(15, draft.dataBase);
  put(16, draft.outputsReleased ?? 0n);
  put(17, draft.sealedAtNs ?? 1_000_000_000n);
  put(18, draft.prevChecksum);
  put(19, 1n | (1n << 2n) | (7n << 32n) | (BigInt(records.length * 4) << 35n));
  put(20, 1n | (BigInt(1 + records.length * 4) << 2n) | (2n << 32n) | (BigInt(dataBytes) << 35n));
  put(21, (BigInt(records.length) << 2n) | (4n << 32n));
  let dataAt = 0;
  const dataOffset = (22 + records.length * 4) * 8;
  records.forEach((record, index) => {
    const at = (22 + index * 4) * 8;
    const { payload } = record;
    message.setBigUint64(at, record.icount, true);
    message.setBigInt64(at + 8, record.vtimeNs, true);
    message.setUint16(at + 16, record.kind, true);
    message.setUint16(at + 18, record.channel, true);
    message.setUint32(at + 20, payload?.length ?? record.len, true);
    const arg = payload === undefined ? record.arg : draft.dataBase + BigInt(dataAt);
    message.setBigUint64(at + 24, arg, true);
    if (payload === undefined) return;
    frame.set(payload, 16 + dataOffset + dataAt);
    dataAt += padded(payload.length);
  });
  tamper(message);
  return finish(frame);
}

/** Checksums and prefix for whatever the message is now. */
export function finish(frame: Buffer): Buffer {
  const body = frame.subarray(16);
  body.writeBigUInt64LE(xxh64(body.subarray(21 * 8)), 3 * 8);
  const header = Buffer.concat([body.subarray(0, 16), body.subarray(24, 21 * 8)]);
  body.writeBigUInt64LE(xxh64(header), 2 * 8);
  frame.writeUInt32LE(0x31524455, 0);
  frame.writeUInt16LE(1, 4);
  frame.writeUInt32LE(body.length, 8);
  frame.writeUInt32LE(crc32(frame.subarray(0, 12)), 12);
  return frame;
}

/** xorshift64*, as fake-qemu.c has it. */
export class Random {
  #state: bigint;

  constructor(seed: bigint) {
    this.#state = seed;
  }

  next(): bigint {
    const mask = 0xffff_ffff_ffff_ffffn;
    let x = this.#state;
    x ^= x >> 12n;
    x = (x ^ (x << 25n)) & mask;
    x ^= x >> 27n;
    this.#state = x;
    return (x * 0x2545f4914f6cdd1dn) & mask;
  }

  below(limit: number): number {
    return Number(this.next() % BigInt(limit));
  }
}

/** What `fake-qemu produce SEED COUNT PAYLOAD_MAX` makes, without its END. */
export function* producedRecords(
  seed: bigint,
  count: number,
  payloadMax: number,
): Generator<DraftRecord> {
  const kinds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11];
  const random = new Random(seed);
  let icount = 0n;
  for (let n = 0; n < count; n++) {
    const x = random.next();
    icount += x % 1000n;
    const kind = kinds[Number((x >> 16n) % 10n)] ?? 0;
    const base = { icount, vtimeNs: icount * 2n, kind, channel: Number(x >> 60n) };
    if (kindHasPayload(kind)) {
      const wanted = Number(((x >> 24n) & 0xff_ffff_ffffn) % BigInt(payloadMax + 1));
      const len = kind === 9 ? 40 : wanted;
      const payload = Uint8Array.from({ length: len }, (_, i) => (n * 31 + i) & 0xff);
      yield { ...base, len, arg: 0n, payload };
    } else {
      yield { ...base, len: Number((x >> 32n) & 0xffff_ffffn), arg: x };
    }
  }
}

/** A chain of batches over the given records, `perBatch` in each. */
export function writeLog(
  vmId: Buffer,
  records: readonly DraftRecord[],
  perBatch: number,
  term = 1,
): Buffer[] {
  const frames: Buffer[] = [];
  let recordBase = 0n;
  let dataBase = 0n;
  let prevChecksum = 0n;
  for (let from = 0; from < records.length; from += perBatch) {
    const part = records.slice(from, from + perBatch);
    const sequence = BigInt(frames.length);
    const draft = { vmId, sequence, recordBase, dataBase, prevChecksum, records: part, term };
    const frame = writeBatch(draft);
    frames.push(frame);
    recordBase += BigInt(part.length);
    dataBase += BigInt(part.reduce((sum, { payload }) => sum + padded(payload?.length ?? 0), 0));
    prevChecksum = frame.readBigUInt64LE(32) ^ frame.readBigUInt64LE(40);
  }
  return frames;
}
