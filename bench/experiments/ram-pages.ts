// SPDX-License-Identifier: Apache-2.0
/**
 * How many pages the memory of a checkpoint has: the heads of its runs, without their
 * content (native/kvm-exit-log/qemu/exitlog/cut/checkpoint.h, CheckpointRam…).
 */
import { closeSync, openSync, readSync } from 'node:fs';

const HEAD_BYTES = 16;
const BLOCK_BYTES = 264;
const RUN_BYTES = 24;

/** @param format of its manifest: 1 has content as it is, 2 says how many bytes are stored */
export function countPages(file: string, format: number): number {
  const fd = openSync(file, 'r');
  try {
    const read = (at: number, bytes: number): Buffer | null => {
      const buffer = Buffer.alloc(bytes);
      return readSync(fd, buffer, 0, bytes, at) === bytes ? buffer : null;
    };
    const head = read(0, HEAD_BYTES);
    if (head === null) throw new Error(`${file} has no head`);
    const pageBytes = head.readUInt32LE(8);
    let at = HEAD_BYTES + head.readUInt32LE(12) * BLOCK_BYTES;
    let pages = 0;
    for (;;) {
      const run = read(at, RUN_BYTES);
      if (run === null) return pages;
      const count = Number(run.readBigUInt64LE(16));
      const zeroOrStored = run.readUInt32LE(4);
      pages += count;
      if (format > 1) at += RUN_BYTES + zeroOrStored;
      else at += RUN_BYTES + (zeroOrStored === 0 ? count * pageBytes : 0);
    }
  } finally {
    closeSync(fd);
  }
}
