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
