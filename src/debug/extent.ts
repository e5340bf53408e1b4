// SPDX-License-Identifier: Apache-2.0
/** What of a recording a debugger can go to: its ends, its outputs, its records. */
import { UnderstudyError } from '../base/errors.ts';
import type { LogRecord } from '../log/batch.ts';
import { KIND } from '../log/kinds.ts';
import { LogReader } from '../log/log-reader.ts';
import type { Recording } from '../recording/folder.ts';

export interface Extent {
  readonly begin: bigint;
  readonly end: bigint;
}

/** From power-on, or what was retained, to the END, or as far as a killed recorder got. */
export async function extentOf(recording: Recording): Promise<Extent> {
  const begin = recording.retained?.from_icount ?? 0n;
  if (recording.end !== null) return { begin, end: recording.end.icount };
  let end = begin;
  for await (const { batch } of readerOf(recording)) end = batch.header.horizonIcount;
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

/** The first record after a position; null: it is the end. */
export function recordAfter(recording: Recording, icount: bigint): Promise<LogRecord | null> {
  return firstRecord(recording, (record) => record.icount > icount);
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
 * the same icount: what the guest had printed goes into the log just before the CHECKPOINT.
 */
async function* recordsOf(recording: Recording): AsyncGenerator<LogRecord> {
  const from = recording.retained?.from_icount;
  let begun = from === undefined;
  for await (const { batch } of readerOf(recording)) {
    for (const record of batch.records()) {
      if (begun) yield record;
      else begun = record.kind === KIND.CHECKPOINT && record.icount === from;
    }
  }
}

function readerOf(recording: Recording): LogReader {
  return new LogReader(recording.paths.log, {
    vmId: Buffer.from(recording.manifest.vm_id, 'hex'),
    tail: recording.end === null ? 'torn' : 'whole',
    fromIndex: recording.retained?.from_segment ?? 1,
  });
}

/** @throws UnderstudyError usage, for a position outside the recording */
export function checkInside(icount: bigint, { begin, end }: Extent): void {
  if (icount >= begin && icount <= end) return;
  throw new UnderstudyError(
    'usage',
    `icount ${icount} is not in this recording, which goes from ${begin} to ${end}`,
  );
}
