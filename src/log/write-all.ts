// SPDX-License-Identifier: Apache-2.0
import { type FileHandle, open } from 'node:fs/promises';

/**
 * Writes all buffers at `position`, however many calls that takes: a system call may
 * write less than asked, as the last one before a disk is full does.
 */
export async function writeAll(
  handle: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<number> {
  let rest = [...buffers];
  let at = position;
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest, at);
    if (bytesWritten === 0) throw new Error('the system wrote nothing and gave no error');
    at += bytesWritten;
    let skip = bytesWritten;
    let first = rest[0];
    while (first !== undefined && skip >= first.length) {
      skip -= first.length;
      rest = rest.slice(1);
      first = rest[0];
    }
    if (first !== undefined && skip > 0) rest = [first.subarray(skip), ...rest.slice(1)];
  }
  return at;
}

/** Makes the names in a folder durable: a new file's name is not, by its own fsync. */
export async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
