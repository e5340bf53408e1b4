// SPDX-License-Identifier: Apache-2.0
/** What of a recording a debugger can go to: its ends, its outputs, its records. */
import { UnderstudyError } from '../base/errors.ts';
import { comparePoints, keyOf, nameOf, POWER_ON, type Point, samePoint } from '../base/position.ts';
import type { LogRecord } from '../log/batch.ts';
import { KIND } from '../log/kinds.ts';
import { LogReader } from '../log/log-reader.ts';
import type { Recording } from '../recording/folder.ts';

export interface Extent {
  readonly begin: Point;
  readonly end: Point;
}

/** From power-on, or what was retained, to the END, or as far as a killed recorder got. */
export async function extentOf(recording: Recording): Promise<Extent> {
  const begin = recording.retained?.from ?? POWER_ON.point;
  if (recording.end !== null) return { begin, end: recording.end.point };
  let end = begin;
  for await (const { batch } of readerOf(recording)) end = batch.covered.point;
  return { begin, end };
}

/** The record of the n-th output after the recording's beginning, from 1; null: there are fewer. */
export async function outputNumber(
  recording: Recording,
  wanted: number,
): Promise<LogRecord | null> {
  let count = 0;
  return firstRecord(recording, ({ kind }) => {
    if (kind === KIND.NET_OUT || kind === KIND.CHAR_OUT) count += 1;
    return count === wanted;
  });
}

/** The first records after a position, all that are at the same one; none: it is the end. */
export async function recordsAfter(recording: Recording, point: Point): Promise<LogRecord[]> {
  const next: LogRecord[] = [];
  for await (const record of recordsOf(recording)) {
    if (comparePoints(record.point, point) <= 0) continue;
    if (next[0] !== undefined && !samePoint(record.point, next[0].point)) break;
    next.push(record);
  }
  return next;
}

async function firstRecord(
  recording: Recording,
  wanted: (record: LogRecord) => boolean,
): Promise<LogRecord | null> {
  for await (const record of recordsOf(recording)) if (wanted(record)) return record;
  return null;
}

/**
 * From the beginning on. Where that is a checkpoint, its segment has records before it, also of
 * the same point: what the guest had printed goes into the log just before the CHECKPOINT.
 */
async function* recordsOf(recording: Recording): AsyncGenerator<LogRecord> {
  const from = recording.retained?.from ?? null;
  let begun = from === null;
  for await (const { batch } of readerOf(recording)) {
    for (const record of batch.records()) {
      if (begun) yield record;
      else begun = record.kind === KIND.CHECKPOINT && samePoint(record.point, from);
    }
  }
}

function readerOf(recording: Recording): LogReader {
  return new LogReader(recording.paths.log, {
    vmId: Buffer.from(recording.manifest.vm_id, 'hex'),
    tail: recording.end === null ? 'torn' : 'whole',
    fromIndex: recording.retained?.fromSegment ?? 1,
  });
}

/** @throws UnderstudyError usage, for a position outside the recording */
export function checkInside(point: Point, { begin, end }: Extent): void {
  if (comparePoints(point, begin) >= 0 && comparePoints(point, end) <= 0) return;
  throw new UnderstudyError(
    'usage',
    `${nameOf(point)} is not in this recording, which goes from ${keyOf(begin)} to ${keyOf(end)}`,
  );
}
