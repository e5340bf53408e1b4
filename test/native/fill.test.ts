// SPDX-License-Identifier: Apache-2.0
/** Step 6 refuses, by name and without a trace, whatever is not the next batch. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DraftBatch,
  type DraftRecord,
  type Tamper,
  writeBatch,
} from '../../bench/stand-ins/batches.ts';
import { checkFrame, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { CorruptLogError } from '../../src/base/corrupt-log.ts';
import { KIND } from '../../src/log/kinds.ts';

const vmId = Buffer.alloc(16, 7);
const reset: DraftRecord = {
  icount: 100n,
  vtimeNs: 200n,
  kind: KIND.RESET,
  channel: 0,
  len: 0,
  arg: 0n,
};
const typed: DraftRecord = {
  ...reset,
  kind: KIND.CHAR_IN,
  icount: 150n,
  payload: Buffer.from('0123456789'),
};
const base: DraftBatch = {
  vmId,
  sequence: 0n,
  recordBase: 0n,
  dataBase: 0n,
  prevChecksum: 0n,
  records: [reset, typed],
  horizon: { icount: 500n, vtimeNs: 1000n },
};

function refused(ring: ExitRing, frame: Buffer, reason: RegExp, code = 'log-corrupt'): void {
  const before = ring.status().inPending;
  try {
    ring.fill(frame, 0, frame.length);
    assert.unreachable('accepted');
  } catch (error) {
    assert.instance(error, CorruptLogError);
    assert.is((error as CorruptLogError).code, code);
    assert.match((error as CorruptLogError).reason, reason);
  }
  assert.is(ring.status().inPending, before);
}

const u16 =
  (at: number, value: number): Tamper =>
  (message) =>
    message.setUint16(at, value, true);
const u32 =
  (at: number, value: number): Tamper =>
  (message) =>
    message.setUint32(at, value, true);
const u64 =
  (word: number, value: bigint): Tamper =>
  (message) =>
    message.setBigUint64(word * 8, value, true);

/** Wrong values under right checksums: what a broken or hostile peer can send. */
const TAMPERED: [string, Tamper, RegExp, string?][] = [
  ['another log version', u16(48, 2), /this build reads 1, found 2/, 'log-version'],
  ['flags', u16(50, 1), /batch flags/],
  ['more records than there are', u32(52, 3), /batch length/],
  ['records beyond any limit', u32(52, 0xffff_ffff), /at most 4096/],
  ['data beyond any limit', u32(60, 0xffff_fff8), /at most 1048576 bytes/],
  ['data in half words', u32(60, 12), /whole words/],
  ['a data base in half words', u64(15, 4n), /whole words/],
  ['a segment table of two segments', u64(0, 1n), /segment table/],
  ['a longer segment', u64(0, 99n << 32n), /segment table/],
  ['another root', u64(1, (18n << 32n) | (2n << 48n)), /root pointer/],
  ['a far records pointer', u64(19, 2n), /records pointer/],
  ['a data pointer into the records', u64(20, 1n | (2n << 32n)), /data pointer/],
  ['a tag of more records', u64(21, (9n << 2n) | (4n << 32n)), /records tag/],
  ['kind 0', u16(22 * 8 + 16, 0), /unknown kind 0/],
  ['kind 99', u16(22 * 8 + 16, 99), /unknown kind 99/],
  ['positions that go back', u64(22, 151n), /which the log already covers/],
  ['a payload before the data', u64(29, 0xffff_ffff_ffff_fff8n), /payload of record 1/],
  ['a payload after the data', u64(29, 16n), /payload of record 1/],
  ['a payload that is too long', u32(26 * 8 + 20, 17), /payload of record 1/],
  ['a huge payload', u32(26 * 8 + 20, 0xffff_ffff), /payload of record 1/],
  ['another first icount', u64(10, 1n), /first icount/],
  ['another last icount', u64(11, 1n), /last icount/],
];
for (const [what, tamper, reason, code] of TAMPERED) {
  test(`refused: ${what}`, () => {
    const ring = new ExitRing();
    refused(ring, writeBatch(base, tamper), reason, code);
    assert.ok(ring.fill(writeBatch(base), 0, writeBatch(base).length), 'the ring is as before');
    ring.destroy();
  });
}

test('refused: batches that do not continue the log', () => {
  const ring = new ExitRing();
  const first = writeBatch(base);
  assert.ok(ring.fill(first, 0, first.length));
  assert.is(ring.status().inPending, 2);
  refused(ring, first, /expected record 2 and data 16, found record 0 and data 0/);
  const next: DraftBatch = { ...base, sequence: 1n, recordBase: 2n, dataBase: 16n };
  const late = { ...reset, icount: 600n };
  refused(ring, writeBatch({ ...next, recordBase: 3n }), /expected record 2/);
  refused(ring, writeBatch({ ...next, dataBase: 24n }), /expected record 2 and data 16/);
  refused(
    ring,
    writeBatch({ ...next, records: [], horizon: { icount: 499n, vtimeNs: 0n } }),
    /takes the horizon back/,
  );
  refused(
    ring,
    writeBatch({ ...next, records: [{ ...reset, icount: 499n }, late] }),
    /begins at icount 499, before icount 500/,
  );
  const horizon = { icount: 550n, vtimeNs: 1100n };
  assert.ok(ring.fill(writeBatch({ ...next, records: [late], horizon }), 0, 16 + 26 * 8));
  ring.destroy();
});

test('every flipped bit of a frame is found', () => {
  const ring = new ExitRing();
  const frame = writeBatch(base);
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const broken = Buffer.from(frame);
    broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(
      () => ring.fill(broken, 0, broken.length),
      (error: unknown) => error instanceof CorruptLogError,
      `bit ${bit}`,
    );
  }
  ring.destroy();
});

test('every truncation of a frame is found, also when more follows', () => {
  const ring = new ExitRing();
  const frame = writeBatch(base);
  for (let bytes = 0; bytes < frame.length; bytes++) {
    assert.throws(
      () => ring.fill(frame, 0, bytes),
      (error: unknown) => error instanceof CorruptLogError,
    );
    assert.throws(
      () => checkFrame(frame, 0, bytes),
      (error: unknown) => error instanceof CorruptLogError,
    );
  }
  const longer = Buffer.concat([frame, Buffer.alloc(8)]);
  assert.is(checkFrame(longer, 0, longer.length).bytes, frame.length);
  refused(ring, longer, /expected \d+ bytes, found/);
  ring.destroy();
});

test('a full ring takes no part of a batch; one that can never fit is refused', () => {
  const ring = new ExitRing({ recordSlots: 2, dataBytes: 4096 });
  const first = writeBatch(base);
  assert.ok(ring.fill(first, 0, first.length));
  const next = writeBatch({
    ...base,
    sequence: 1n,
    recordBase: 2n,
    dataBase: 16n,
    records: [{ ...reset, icount: 600n }],
  });
  assert.is(ring.fill(next, 0, next.length), false);
  assert.is(ring.status().inPending, 2);
  const records = [1n, 2n, 3n].map((icount) => ({ ...reset, icount: 600n + icount }));
  const huge = writeBatch({ ...base, sequence: 1n, recordBase: 2n, dataBase: 16n, records });
  assert.throws(
    () => ring.fill(huge, 0, huge.length),
    (error: unknown) => error instanceof RangeError && /can never fit/.test(error.message),
  );
  ring.destroy();
});

test.run();
