// SPDX-License-Identifier: Apache-2.0
/** A disk journal as another boot of its host would have written it (docs/disk-journal.md). */
import { xxh64 } from '../../native/kvm-exit-log/index.ts';

const HEAD_BYTES = 512;
const START = 1024;
const EPOCH_BYTES = 48;

/** Its checksums fit; `bytes` has one generation alone. */
export function ofAnotherBoot(bytes: Buffer): Buffer {
  const all = Buffer.from(bytes);
  const word = (at: number): bigint => all.readBigUInt64LE(at);
  const put = (at: number, value: bigint): void => void all.writeBigUInt64LE(value, at);
  const key = word(16) ^ word(24);
  put(32, word(32) ^ 1n);
  put(504, xxh64(all.subarray(0, 504), 0n));
  const begunEnd = word(HEAD_BYTES + 8);
  let chain = xxh64(all.subarray(0, HEAD_BYTES), word(HEAD_BYTES));
  for (let at = START; at + EPOCH_BYTES <= all.length; ) {
    const end = at + Number(word(at + 24));
    put(at + 32, chain);
    put(at + 40, 0n);
    const sum = xxh64(all.subarray(at, end), chain);
    put(at + 40, sum);
    chain = sum;
    at = end;
    if (BigInt(at) === begunEnd) put(HEAD_BYTES + 16, chain);
  }
  put(START - 8, xxh64(all.subarray(HEAD_BYTES, START - 8), key));
  return all;
}

/** The first disk after its journal was redone, by a reader of its own. */
export function redoneBy(journal: Buffer, image: Buffer): Buffer {
  const disk = Buffer.from(image);
  const word = (at: number): number => Number(journal.readBigUInt64LE(at));
  let chain = xxh64(journal.subarray(0, HEAD_BYTES), journal.readBigUInt64LE(HEAD_BYTES));
  for (let at = START; at + EPOCH_BYTES <= journal.length; ) {
    const end = at + word(at + 24);
    const zeroed = Buffer.from(journal.subarray(at, end));
    if (journal.readBigUInt64LE(at + 32) !== chain || zeroed.length !== end - at) break;
    zeroed.writeBigUInt64LE(0n, 40);
    const sum = xxh64(zeroed, chain);
    if (journal.readBigUInt64LE(at + 40) !== sum) break;
    chain = sum;
    let from = at + EPOCH_BYTES;
    for (let left = word(at + 16); left > 0; left--) {
      const hasData = journal.readUInt32LE(from + 4) === 1;
      const [offset, bytes] = [word(from + 8), word(from + 16)];
      from += 24;
      const data = hasData ? journal.subarray(from, from + bytes) : Buffer.alloc(bytes);
      if (journal.readUInt32LE(from - 24) === 0) data.copy(disk, offset);
      if (hasData) from += Math.ceil(bytes / 8) * 8;
    }
    at = end;
  }
  return disk;
}
