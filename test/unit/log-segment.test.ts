// SPDX-License-Identifier: Apache-2.0
/** A log on disk: truncated anywhere, any bit flipped, of another VM or version. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finish } from '../../bench/stand-ins/batches.ts';
import { readLog, someFrames, tempDir, VM_ID, writeFrames } from '../../bench/stand-ins/logs.ts';
import { CorruptLogError } from '../../src/base/corrupt-log.ts';
import { findSegment } from '../../src/log/find-segment.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { listSegments, readSegmentHeader, writeSegmentHeader } from '../../src/log/segment.ts';
import { summarise } from '../../src/log/summary.ts';
import { trimLog } from '../../src/retain/log-trim.ts';

async function failure(dir: string, options = {}): Promise<CorruptLogError> {
  try {
    await readLog(dir, options);
  } catch (error) {
    assert.instance(error, CorruptLogError, String((error as Error).stack));
    return error as CorruptLogError;
  }
  assert.unreachable('the log was read');
  throw new Error();
}

const frames = someFrames(3);
const base = tempDir('segment');
await writeFrames(base, frames);
const whole = readFileSync(join(base, '000001.udl'));
/** Where whole frames end: header, then each batch. */
const ends = [whole.length];
for (const frame of [...frames].reverse()) ends.unshift((ends[0] ?? 0) - frame.length);

test('what was written is read, byte for byte', async () => {
  const { sequences, reader } = await readLog(base, { vmId: VM_ID });
  assert.equal(sequences, [0n, 1n, 2n]);
  assert.ok(whole.subarray(ends[0]).equals(Buffer.concat(frames)));
  assert.is(reader.segment?.qemuBuildId, 'abcd');
  assert.is(reader.segment?.index, 1);
  assert.equal(reader.end, { file: join(base, '000001.udl'), offset: whole.length });
  assert.is(reader.torn, null);
});

test('every truncation: strict reading refuses it, tolerant reading ends at a whole batch', async () => {
  const dir = tempDir('truncated');
  const file = join(dir, '000001.udl');
  for (let bytes = 0; bytes < whole.length; bytes++) {
    writeFileSync(file, whole.subarray(0, bytes));
    const batches = ends.filter((end) => end <= bytes).length - 1;
    const { sequences, reader } = await readLog(dir, { tail: 'torn' });
    assert.is(sequences.length, Math.max(batches, 0), `${bytes} bytes`);
    if (ends.includes(bytes)) {
      // Nothing is missing that the bytes themselves could tell.
      assert.is(reader.torn, null);
      await readLog(dir);
    } else {
      const end = batches < 0 ? 0 : (ends[batches] ?? 0);
      assert.equal([reader.torn?.offset, reader.torn?.bytes], [end, bytes - end]);
      const error = await failure(dir);
      assert.is(error.code, 'log-truncated');
      assert.equal(error.place, { file, offset: end });
    }
  }
});

test('every flipped bit is found, strict or tolerant, with file and offset', async () => {
  const dir = tempDir('flipped');
  const file = join(dir, '000001.udl');
  const two = someFrames(2, 1, 8);
  await writeFrames(dir, two);
  const small = readFileSync(file);
  const second = small.length - (two[1]?.length ?? 0);
  const starts = [0, second - (two[0]?.length ?? 0), second];
  for (let bit = 0; bit < small.length * 8; bit++) {
    const broken = Buffer.from(small);
    const at = bit >> 3;
    broken[at] = (broken[at] ?? 0) ^ (1 << (bit & 7));
    writeFileSync(file, broken);
    const error = await failure(dir, { tail: bit % 2 === 0 ? 'torn' : 'whole' });
    const offset = starts.filter((start) => start <= at).at(-1);
    assert.equal(error.place, { file, offset }, `bit ${bit}: ${error.message}`);
    assert.is(error.exitCode, 11);
  }
});

test('zeros behind the last batch are a torn tail; other bytes are not', async () => {
  const dir = tempDir('zeros');
  const file = join(dir, '000001.udl');
  writeFileSync(file, Buffer.concat([whole, Buffer.alloc(5000)]));
  const { sequences, reader } = await readLog(dir, { tail: 'torn' });
  assert.is(sequences.length, 3);
  assert.match(reader.torn?.reason ?? '', /5000 zero bytes/);
  writeFileSync(file, Buffer.concat([whole, Buffer.alloc(5000, 1)]));
  assert.match((await failure(dir, { tail: 'torn' })).reason, /magic/);
});

test('the log of another VM is refused by name', async () => {
  const other = Buffer.alloc(16, 9);
  const error = await failure(base, { vmId: other });
  assert.is(error.code, 'log-foreign');
  assert.match(error.message, VM_ID.toString('hex'));
  assert.match(error.message, other.toString('hex'));
});

test('a batch of another VM under this VM’s header', async () => {
  const dir = tempDir('mixed');
  const foreign = Buffer.from(frames[0] as Buffer);
  foreign.writeBigUInt64LE(1n, 16 + 32);
  finish(foreign);
  writeFileSync(join(dir, '000001.udl'), Buffer.concat([whole.subarray(0, ends[0]), foreign]));
  assert.is((await failure(dir)).code, 'log-foreign');
});

test('another log version is refused by number, in the header and in a batch', async () => {
  const dir = tempDir('version');
  const file = join(dir, '000001.udl');
  const info = readSegmentHeader(whole.subarray(0, ends[0]));
  writeFileSync(file, writeSegmentHeader({ ...info, logVersion: 2 }));
  const error = await failure(dir);
  assert.is(error.code, 'log-version');
  assert.match(error.message, /reads 1, found 2/);
  const newer = Buffer.from(frames[0] as Buffer);
  newer.writeUInt16LE(7, 16 + 48);
  writeFileSync(file, Buffer.concat([whole.subarray(0, ends[0]), finish(newer)]));
  assert.match((await failure(dir)).message, /reads 1, found 7/);
});

test('a batch that is missing, doubled, swapped or of another log with the same numbers', async () => {
  const dir = tempDir('order');
  const file = join(dir, '000001.udl');
  const head = whole.subarray(0, ends[0]);
  const [first, second, third] = frames as [Buffer, Buffer, Buffer];
  const [, twin] = someFrames(3, 2, 12, 99n) as [Buffer, Buffer, Buffer];
  const cases: [Buffer[], RegExp][] = [
    [[first, third], /sequence: expected 1, found 2/],
    [[first, first], /sequence: expected 1, found 0/],
    [[second, first], /sequence: expected 0, found 1/],
    [[first, twin], /follows another batch/],
  ];
  for (const [order, reason] of cases) {
    writeFileSync(file, Buffer.concat([head, ...order]));
    assert.match((await failure(dir)).reason, reason);
  }
});

test('logs of many segments: order, a missing one, a renamed one, an end that is cut', async () => {
  const dir = tempDir('many');
  const many = someFrames(40, 3, 200);
  await writeFrames(dir, many, { segmentBytesMax: 2000 });
  const segments = await listSegments(dir);
  assert.ok(segments.length > 5);
  assert.is((await readLog(dir)).sequences.length, 40);
  const later = await readLog(dir, { fromIndex: 3 });
  assert.is(later.sequences.at(-1), 39n);
  const copy = (names: (name: string) => string | null): string => {
    const target = tempDir('copy');
    mkdirSync(target, { recursive: true });
    for (const { file } of segments) {
      const name = names(file.slice(-10));
      if (name !== null) copyFileSync(file, join(target, name));
    }
    return target;
  };
  const missing = await failure(copy((name) => (name === '000003.udl' ? null : name)));
  assert.match(missing.reason, /segment 000003.udl is missing/);
  assert.is(missing.code, 'log-truncated');
  const renamed = copy((name) =>
    name === '000003.udl' ? '000004.udl' : name === '000004.udl' ? '000003.udl' : name,
  );
  assert.match((await failure(renamed)).reason, /expected number 3, as the file is named, found 4/);
  // In the middle of a log nothing may be torn, however it is read.
  const cut = copy((name) => name);
  const middle = join(cut, '000002.udl');
  writeFileSync(middle, readFileSync(middle).subarray(0, -1));
  assert.is((await failure(cut, { tail: 'torn' })).code, 'log-truncated');
});

test('a daemon keeps the newest segments; what is left reads without a gap', async () => {
  const dir = tempDir('trim');
  await writeFrames(dir, someFrames(60, 3, 200), { segmentBytesMax: 2000 });
  const before = (await listSegments(dir)).map(({ index }) => index);
  assert.ok(before.length > 10);
  assert.is(await trimLog(dir, 16_000), before.length - 8);
  assert.is(await trimLog(dir, 16_000), 0, 'once is enough');
  const after = (await listSegments(dir)).map(({ index }) => index);
  assert.equal(after, before.slice(-8));
  const { sequences } = await readLog(dir, { fromIndex: 'oldest' });
  assert.is(sequences.at(-1), 59n);
  assert.is(BigInt(sequences.length), 60n - (sequences[0] ?? 0n));
  assert.match((await failure(dir)).reason, /segment 000001.udl is missing/, 'not from power-on');

  const asDaemon = await summarise(dir, () => {});
  assert.equal(asDaemon.damage, []);
  assert.is(asDaemon.firstSegment, after[0]);
  mkdirSync(join(dir, 'recording'));
  const log = join(dir, 'recording', 'log');
  mkdirSync(log);
  for (const { file } of await listSegments(dir)) copyFileSync(file, join(log, basename(file)));
  writeFileSync(join(dir, 'recording', 'vm.json'), '{}');
  const asRecording = await summarise(log, () => {});
  assert.match(asRecording.damage[0]?.reason ?? '', /segment\(s\) before this one are missing/);
});

test('the segment of a record is found without reading the log', async () => {
  const dir = tempDir('find');
  await writeFrames(dir, someFrames(60, 3, 200), { segmentBytesMax: 2000 });
  const found = new Map<bigint, number>();
  const reader = new LogReader(dir);
  for await (const { batch } of reader) {
    for (const { ordinal } of batch.records()) found.set(ordinal, reader.segment?.index ?? 0);
  }
  assert.is(found.size, 180);
  for (const [ordinal, index] of found) assert.is(await findSegment(dir, ordinal), index);
  const segments = await listSegments(dir);
  assert.is(await findSegment(dir, 1_000_000n), segments.at(-1)?.index, 'none has it');
  await trimLog(dir, 16_000);
  const left = (await listSegments(dir)).map(({ index }) => index);
  assert.is(await findSegment(dir, 0n), left[0], 'deleted: the oldest, which does not have it');
  for (const [ordinal, index] of found) {
    if (left.includes(index)) assert.is(await findSegment(dir, ordinal), index);
  }
  // A header of which the first bytes are gone is no way in: one before it is found.
  const newest = join(dir, `${String(left.at(-1)).padStart(6, '0')}.udl`);
  writeFileSync(newest, Buffer.alloc(4096));
  assert.is(await findSegment(dir, 1_000_000n), left.at(-2));
});

test('a folder without a log', async () => {
  const dir = tempDir('empty');
  writeFileSync(join(dir, 'notes.txt'), 'x');
  await assertRejects(readLog(dir), 'not-a-recording');
  rmSync(dir, { recursive: true });
  await assertRejects(readLog(dir), 'ENOENT');
});

async function assertRejects(promise: Promise<unknown>, code: string): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.is((error as { code?: string }).code, code);
    return;
  }
  assert.unreachable('resolved');
}

test.run();
