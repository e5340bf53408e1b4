// SPDX-License-Identifier: Apache-2.0
/** Sparse files without SEEK_HOLE, which Node does not have: zeros are not written. */
import type { FileHandle } from 'node:fs/promises';

/** Block size of ext4, XFS and tmpfs: less would not make a hole. */
const BLOCK_BYTES = 4096;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export function isZero(content: Buffer): boolean {
  for (let at = 0; at < content.length; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES);
    if (!block.equals(ZEROS.subarray(0, block.length))) return false;
  }
  return true;
}

/**
 * Writes `content` at `offset` of a file that is a hole there, zero blocks left out.
 * @returns how many bytes were written
 * @throws the system's error
 */
export async function writeSparse(
  file: FileHandle,
  content: Buffer,
  offset: number,
): Promise<number> {
  let from = 0;
  let written = 0;
  while (from < content.length) {
    const isHole = isZero(content.subarray(from, from + BLOCK_BYTES));
    let to = from + BLOCK_BYTES;
    while (to < content.length && isZero(content.subarray(to, to + BLOCK_BYTES)) === isHole) {
      to += BLOCK_BYTES;
    }
    to = Math.min(to, content.length);
    while (!isHole && from < to) {
      const { bytesWritten } = await file.write(content, from, to - from, offset + from);
      from += bytesWritten;
      written += bytesWritten;
    }
    from = to;
  }
  return written;
}
