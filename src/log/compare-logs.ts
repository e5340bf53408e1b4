// SPDX-License-Identifier: Apache-2.0
/** Two logs, record by record, to their first difference. */
import { comparePositions } from '../base/position.ts';
import type { LogRecord } from './batch.ts';
import { DIGEST_KIND, KIND, kindHasPayload } from './kinds.ts';
import { LogReader } from './log-reader.ts';

export interface LogDifference {
  /** Records that are the same from power-on. */
  readonly same: number;
  /** The last of these. */
  readonly before: readonly LogRecord[];
  /** The first that differ, null where a log has ended; null: no difference. */
  readonly at: { readonly a: LogRecord | null; readonly b: LogRecord | null } | null;
  /** Each log from there on. */
  readonly after: { readonly a: readonly LogRecord[]; readonly b: readonly LogRecord[] };
}

const BEFORE = 5;
const AFTER = 3;

/** How the records were batched does not matter, nor where a payload was put. */
export async function compareLogs(dirA: string, dirB: string): Promise<LogDifference> {
  const a = recordsOf(dirA);
  const b = recordsOf(dirB);
  const before: LogRecord[] = [];
  let same = 0;
  for (;;) {
    let left = await next(a);
    let right = await next(b);
    // Digests that only one of them was asked to make are no difference.
    for (;;) {
      if (isLone(left, right)) left = await next(a);
      else if (isLone(right, left)) right = await next(b);
      else break;
    }
    if (left === null && right === null) {
      return { same, before, at: null, after: { a: [], b: [] } };
    }
    if (left === null || right === null || !sameRecord(left, right)) {
      const after = { a: await take(a, left), b: await take(b, right) };
      return { same, before, at: { a: left, b: right }, after };
    }
    same += 1;
    before.push(left);
    if (before.length > BEFORE) before.shift();
  }
}

async function* recordsOf(dir: string): AsyncGenerator<LogRecord, void, undefined> {
  for await (const { batch } of new LogReader(dir, { tail: 'torn' })) yield* batch.records();
}

async function next(records: AsyncGenerator<LogRecord, void>): Promise<LogRecord | null> {
  const result = await records.next();
  return result.done === true ? null : result.value;
}

async function take(
  records: AsyncGenerator<LogRecord, void>,
  first: LogRecord | null,
): Promise<LogRecord[]> {
  const taken: LogRecord[] = [];
  for (let record = first; record !== null && taken.length < AFTER; record = await next(records)) {
    taken.push(record);
  }
  return taken;
}

function isLone(record: LogRecord | null, other: LogRecord | null): boolean {
  if (record?.kind !== KIND.DIGEST || record.channel !== DIGEST_KIND.PERIODIC) return false;
  return other?.kind !== KIND.DIGEST || comparePositions(record, other) < 0;
}

function sameRecord(a: LogRecord, b: LogRecord): boolean {
  return (
    comparePositions(a, b) === 0 &&
    a.kind === b.kind &&
    a.channel === b.channel &&
    a.len === b.len &&
    (kindHasPayload(a.kind) || a.arg === b.arg) &&
    Buffer.compare(a.payload ?? Buffer.alloc(0), b.payload ?? Buffer.alloc(0)) === 0
  );
}
