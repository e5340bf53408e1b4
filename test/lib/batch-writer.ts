// SPDX-License-Identifier: Apache-2.0
/** Batches in the canonical layout (schema/log.capnp) without a ring, for tests. */
import { crc32 } from 'node:zlib';
import { xxh64 } from '../../native/kvm-exit-log/index.ts';
import { KIND } from '../../src/log/kinds.ts';

export interface SimRecord {
  readonly icount: bigint;
  readonly kind: number;
}

export interface BatchSpec {
  readonly vmId: Buffer;
  readonly term: number;
  readonly sequence: bigint;
  readonly recordBase: bigint;
  readonly horizon: bigint;
  readonly outputsReleased: bigint;
  readonly prevChecksum: bigint;
  readonly records: readonly SimRecord[];
}

const HEADER_WORDS = 17;

/** @returns the frame and its checksum for the chain */
export function writeBatch(spec: BatchSpec): { frame: Buffer; checksum: bigint } {
  const words = 1 + HEADER_WORDS + 2 + 1 + spec.records.length * 4;
  const bodyBytes = 8 + words * 8;
  const frame = Buffer.alloc(16 + bodyBytes);
  const message = frame.subarray(16);
  message.writeUInt32LE(words, 4);
  message.writeUInt32LE(0, 8);
  message.writeUInt16LE(HEADER_WORDS, 12);
  message.writeUInt16LE(2, 14);
  const header = (index: number): number => 16 + index * 8;
  const first = spec.records[0]?.icount ?? spec.horizon;
  const last = spec.records.at(-1)?.icount ?? spec.horizon;
  spec.vmId.copy(message, header(2));
  message.writeUInt16LE(1, header(4));
  message.writeUInt32LE(spec.records.length, header(4) + 4);
  message.writeUInt32LE(spec.term, header(5));
  message.writeBigUInt64LE(spec.sequence, header(6));
  message.writeBigUInt64LE(spec.sequence, header(7));
  message.writeBigUInt64LE(first, header(8));
  message.writeBigUInt64LE(last, header(9));
  message.writeBigUInt64LE(spec.horizon, header(10));
  message.writeBigInt64LE(spec.horizon * 2n, header(11));
  message.writeBigUInt64LE(spec.recordBase, header(12));
  message.writeBigUInt64LE(spec.outputsReleased, header(14));
  message.writeBigUInt64LE(1n, header(15));
  message.writeBigUInt64LE(spec.prevChecksum, header(16));
  // Pointers: records (composite, 4 words each) right after both, then no data.
  const pointers = header(HEADER_WORDS);
  message.writeUInt32LE((1 << 2) | 1, pointers);
  message.writeUInt32LE(((spec.records.length * 4) << 3) | 7, pointers + 4);
  const dataOffset = 1 + spec.records.length * 4;
  message.writeUInt32LE((dataOffset << 2) | 1, pointers + 8);
  message.writeUInt32LE((0 << 3) | 2, pointers + 12);
  const tag = pointers + 16;
  message.writeUInt32LE(spec.records.length << 2, tag);
  message.writeUInt16LE(4, tag + 4);
  spec.records.forEach((record, index) => {
    const at = tag + 8 + index * 32;
    message.writeBigUInt64LE(record.icount, at);
    message.writeBigInt64LE(record.icount * 2n, at + 8);
    message.writeUInt16LE(record.kind, at + 16);
    if (record.kind === KIND.NET_OUT) {
      message.writeUInt32LE(60, at + 20);
      message.writeBigUInt64LE(record.icount, at + 24);
    }
  });
  const bodyChecksum = xxh64(message.subarray(tag));
  message.writeBigUInt64LE(bodyChecksum, header(1));
  const covered = Buffer.concat([message.subarray(0, 16), message.subarray(24, tag)]);
  const headerChecksum = xxh64(covered);
  message.writeBigUInt64LE(headerChecksum, header(0));
  frame.writeUInt32LE(0x31524455, 0);
  frame.writeUInt16LE(1, 4);
  frame.writeUInt32LE(bodyBytes, 8);
  frame.writeUInt32LE(crc32(frame.subarray(0, 12)), 12);
  return { frame, checksum: headerChecksum ^ bodyChecksum };
}
