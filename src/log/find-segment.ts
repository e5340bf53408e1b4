// SPDX-License-Identifier: Apache-2.0
/** Which segment of a log has a record, without reading the log. */
import { type FileHandle, open } from 'node:fs/promises';
import { BATCH_HEADER_BYTES, readBatchHeader } from './batch.ts';
import { FRAME, frameBytes, PREFIX_BYTES } from './frame.ts';
import { listSegments } from './segment.ts';

/**
 * The number of the segment in which the record with this ordinal is, if the log has
 * it: a hint, from bytes that nobody has verified. A reader that starts there verifies.
 * 1 when it cannot be told.
 */
export async function findSegment(dir: string, ordinal: bigint): Promise<number> {
  const segments = await listSegments(dir);
  let low = 0;
  for (let high = segments.length; high - low > 1; ) {
    const middle = (low + high) >> 1;
    const first = await firstRecord(segments[middle]?.file ?? '');
    if (first !== null && first <= ordinal) low = middle;
    else high = middle;
  }
  return segments[low]?.index ?? 1;
}

/** Ordinal of a segment's first record; null when there is no batch in it that says so. */
async function firstRecord(file: string): Promise<bigint | null> {
  const handle = await open(file);
  try {
    const header = frameBytes(await readAt(handle, 0, PREFIX_BYTES), 0, PREFIX_BYTES);
    if (header === null) return null;
    const batch = await readAt(handle, header, BATCH_HEADER_BYTES);
    const isBatch = frameBytes(batch, 0, batch.length) !== null;
    if (!isBatch || batch.length < BATCH_HEADER_BYTES || batch.readUInt16LE(4) !== FRAME.BATCH) {
      return null;
    }
    return readBatchHeader(batch, 0).recordBase;
  } catch {
    return null; // the reader of the log says what is wrong with it
  } finally {
    await handle.close();
  }
}

async function readAt(handle: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, position);
  return buffer.subarray(0, bytesRead);
}
