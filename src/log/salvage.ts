// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a log that may be damaged: every batch that is whole, and where and how
 * the rest is not. For inspect only; what executes a log uses LogReader, which
 * stops at the first fault.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { errorCodeOf, messageOf } from '../base/errors.ts';
import { Batch, type BatchHeader } from './batch.ts';
import { FRAME_MAGIC, frameBytes } from './frame.ts';
import { listSegments, readSegmentHeader, type SegmentInfo } from './segment.ts';

export interface Damage {
  readonly file: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Bytes that could not be decoded; 0 for what is missing or out of order. */
  readonly bytes: number;
  readonly reason: string;
}

export type Salvaged =
  | { readonly what: 'segment'; readonly info: SegmentInfo; readonly file: string }
  | {
      readonly what: 'batch';
      readonly batch: Batch;
      readonly file: string;
      readonly offset: number;
    }
  | { readonly what: 'damage'; readonly damage: Damage };

const MAGIC = Buffer.alloc(4);
MAGIC.writeUInt32LE(FRAME_MAGIC);

/**
 * Everything that can be decoded, in order. Never throws for what the files hold. A
 * daemon deletes its oldest segments (retain/log-trim.ts), and so does `record --retain`;
 * any other recording has all of them.
 */
export async function* salvage(dir: string): AsyncGenerator<Salvaged, void, undefined> {
  let last: BatchHeader | null = null;
  const oldest = (await listSegments(dir))[0]?.index ?? 1;
  const isThere = (name: string): boolean => existsSync(join(dir, '..', name));
  const isRecording = isThere('vm.json');
  const trimmed = oldest > 1 && (!isRecording || isThere('retained.json'));
  let expected = trimmed ? oldest : 1;
  for (const { file, index } of await listSegments(dir)) {
    if (index !== expected) {
      const reason = `${index - expected} segment(s) before this one are missing`;
      yield damaged(file, 0, 0, reason);
    }
    expected = index + 1;
    const buf = await readFile(file).catch((error: unknown) => {
      // Deleted while the log before it was read.
      if (trimmed && errorCodeOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (buf === null) continue;
    // The log of a backup that joined a running VM begins where it joined.
    let joined = false;
    for (const item of salvageSegment(file, buf)) {
      if (item.what === 'segment') joined = !isRecording && item.info.firstSequence > 0n;
      if (item.what === 'batch') {
        const begins = (trimmed || joined) && last === null;
        const reason = begins ? null : orderFault(last, item.batch.header);
        if (reason !== null) yield damaged(file, item.offset, 0, reason);
        last = item.batch.header;
      }
      yield item;
    }
  }
}

function* salvageSegment(file: string, buf: Buffer): Generator<Salvaged, void, undefined> {
  let offset = 0;
  let header = true;
  while (offset < buf.length) {
    try {
      if (header) {
        header = false;
        const info = readSegmentHeader(buf);
        yield { what: 'segment', info, file };
        offset = frameBytes(buf, 0, buf.length) ?? buf.length;
        continue;
      }
      const batch = Batch.open(buf, offset, buf.length - offset);
      yield { what: 'batch', batch, file, offset };
      offset += batch.bytes;
    } catch (error) {
      const next = nextBatch(buf, offset + 1);
      const reason = error instanceof CorruptLogError ? error.reason : messageOf(error);
      yield damaged(file, offset, next - offset, reason);
      offset = next;
    }
  }
  if (buf.length === 0) yield damaged(file, 0, 0, 'the segment is empty');
}

/** Where the next whole batch begins, or the end of the file. */
function nextBatch(buf: Buffer, from: number): number {
  for (let at = buf.indexOf(MAGIC, from); at >= 0; at = buf.indexOf(MAGIC, at + 1)) {
    try {
      Batch.open(buf, at, buf.length - at);
      return at;
    } catch {
      // the magic was part of some payload
    }
  }
  return buf.length;
}

function orderFault(last: BatchHeader | null, next: BatchHeader): string | null {
  const expected = last === null ? 0n : last.sequence + 1n;
  if (next.sequence !== expected) {
    return `batch ${next.sequence} where batch ${expected} should be`;
  }
  if (last !== null && next.vmId !== last.vmId) return 'a batch of another VM';
  if (last !== null && next.prevChecksum !== last.checksum) {
    return `batch ${next.sequence} does not continue the one before`;
  }
  return null;
}

function damaged(file: string, offset: number, bytes: number, reason: string): Salvaged {
  return { what: 'damage', damage: { file, offset, bytes, reason } };
}
