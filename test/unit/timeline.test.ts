// SPDX-License-Identifier: Apache-2.0
/** What a timeline counts, against logs counted by hand. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir, writeFrames } from '../../bench/stand-ins/logs.ts';
import { KIND } from '../../src/log/kinds.ts';
import { decode } from '../../src/timeline/client/data.ts';
import { collect } from '../../src/timeline/collect.ts';
import { HELD_UNKNOWN, type PageHead } from '../../src/timeline/format.ts';
import { IdleTime } from '../../src/timeline/idle-time.ts';
import { Rows } from '../../src/timeline/rows.ts';
import { ConsoleTail, Thinned } from '../../src/timeline/tail.ts';
import { type TimedBatch, timedFrames, writeTimed } from '../lib/timed-log.ts';

const golden = fileURLToPath(new URL('../golden/log-v1/', import.meta.url));
const RATE_ONE = 1n << 32n;

const counting = suite('timeline: counting');

counting('the golden log, record by record', async () => {
  const { rows, ...rest } = await collect(golden);
  // 12 records, and the horizon of each of 4 batches.
  assert.is(rows.length, 16);
  assert.is(rows.pointsPerRow, 1);
  assert.is(rest.records, 12);
  assert.is(rest.batches, 4);
  assert.is(rest.segments, 2);
  for (const [name, kind] of Object.entries(KIND)) {
    // The golden log is older than CHECKPOINT and BLK_DATA.
    const count = name === 'BLK_DONE' ? 2 : /^(CHECKPOINT|BLK_DATA)$/.test(name) ? 0 : 1;
    assert.is(rows.sumOf(`kind:${kind}`), count, name);
  }
  // Frames of 16 bytes of prefix, 22 words, 3 records of 4 words, and the payload.
  assert.is(rest.logBytes, 4 * (16 + 8 * (22 + 3 * 4)) + (8 + 8 + 8) + 24 + 0 + 40);
  assert.is(rows.sumOf('logBytes'), rest.logBytes);
  assert.is(rows.sumOf('charOutBytes'), 'login: '.length);
  assert.is(rows.sumOf('charInBytes'), 'root\n'.length);
  assert.is(rows.sumOf('netInBytes'), 18);
  assert.is(rows.sumOf('netOutBytes'), 60);
  // 2 ns for each instruction, until CLOCK sets a rate of nearly none: all is idle then.
  assert.is(rows.sumOf('idleNs'), 3 * 2 * 1_000_003);
  assert.equal(rest.end.icount, 11 * 1_000_003);
  assert.is(rest.logEnd?.reason, 'poweroff');
  assert.equal(
    rest.markers.map(({ what, icount }) => `${what} ${icount / 1_000_003}`),
    ['event 7', 'event 9', 'event 11', 'digest 10'],
  );
  assert.is(rest.consoleTail.bytes().toString(), 'login: ');
});

const SEALED = 1_700_000_000_000_000_000n;
const timed: readonly TimedBatch[] = [
  {
    records: [
      { icount: 0, vtimeNs: 0, kind: 'CLOCK', channel: 1, arg: SEALED },
      { icount: 1000, vtimeNs: 2000, kind: 'NET_OUT', len: 74 },
      { icount: 1000, vtimeNs: 2000, kind: 'NET_OUT', len: 74 },
    ],
    horizon: { icount: 2000, vtimeNs: 4000 },
    sealedAtNs: SEALED + 5000n,
  },
  {
    records: [
      // Asleep for 6 µs, then at 4 ns an instruction.
      { icount: 2000, vtimeNs: 10_000, kind: 'CLOCK', arg: 4n * RATE_ONE },
      { icount: 3000, vtimeNs: 14_000, kind: 'NET_IN', len: 100 },
      // And a step: 20 µs that were not executed.
      { icount: 3000, vtimeNs: 14_000, kind: 'CLOCK', channel: 2, arg: 34_000n },
      { icount: 3500, vtimeNs: 37_000, kind: 'CHAR_OUT', payload: Buffer.from('hi') },
    ],
    outputsReleased: 1,
    sealedAtNs: SEALED + 41_000n,
  },
];

counting('idle, steps, held packets, host time', async () => {
  const dir = tempDir('timed');
  writeTimed(dir, timed);
  const { rows, start, hostEpochNs } = await collect(dir);
  assert.is(hostEpochNs, SEALED);
  assert.is(start.hostNs, 0);
  const column = (name: Parameters<typeof rows.column>[0]): number[] =>
    Array.from(rows.column(name).subarray(0, rows.length));
  assert.equal(column('idleNs'), [0, 0, 0, 0, 6000, 0, 0, 1000, 0]);
  assert.equal(column('stepNs'), [0, 0, 0, 0, 0, 0, 0, 20_000, 0]);
  // Known where a batch was sealed; until the next seal it is as it was.
  assert.equal(column('held'), [0, 0, 0, 2, 2, 2, 2, 2, 1]);
  assert.equal(column('behindNs').slice(3), [1000, 1000, 1000, 1000, 1000, 4000]);
  // Between two seals by guest time: 2000 of 4000 ns is half of 5000.
  assert.equal(column('hostNs').slice(0, 4), [0, 2500, 2500, 5000]);
  assert.is(column('hostNs').at(-1), 41_000);
  const share = (10_000 - 4000) / (37_000 - 4000);
  assert.is(column('hostNs')[4], Math.round(5000 + share * 36_000));
  assert.is(rows.hostAt(500, 1000, start), 1250, 'a checkpoint between two rows');
});

counting('few rows for many points: sums and order are kept', async () => {
  const rows = new Rows(8);
  const sum = rows.column('logBytes');
  const peak = rows.column('held');
  for (let index = 0; index < 19; index += 1) {
    rows.add(sum, index);
    rows.peak(peak, index % 10);
    rows.point(index, 2 * index, 3 * index);
  }
  rows.finish();
  assert.is(rows.length, 5);
  assert.is(rows.pointsPerRow, 4);
  const column = (name: 'icount' | 'hostNs' | 'logBytes' | 'held'): number[] =>
    Array.from(rows.column(name).subarray(0, rows.length));
  assert.equal(column('icount'), [3, 7, 11, 15, 18]);
  assert.equal(column('hostNs'), [9, 21, 33, 45, 54]);
  assert.equal(column('logBytes'), [6, 22, 38, 54, 51]);
  assert.equal(column('held'), [3, 7, 9, 5, 8]);
});

counting('a log read into any number of rows has the same totals', async () => {
  const names = ['logBytes', 'idleNs', 'netInBytes', 'kind:3', 'kind:11'] as const;
  const many = await collect(golden);
  for (const rowsMax of [2, 4, 10]) {
    const few = await collect(golden, rowsMax);
    assert.ok(few.rows.length <= rowsMax);
    for (const name of names) assert.is(few.rows.sumOf(name), many.rows.sumOf(name), name);
    assert.equal(few.end, many.end);
  }
});

counting('a page gives back what was put into it', async () => {
  const dir = tempDir('timed');
  writeTimed(dir, timed);
  const { rows, start, consoleTail } = await collect(dir);
  const { columns, bytes } = rows.encode(start);
  const head = {
    start,
    rows: rows.length,
    columns,
    pointsPerRow: 1,
    console: { bytes: 2, firstByte: 0 },
  } as unknown as PageHead;
  const data = decode(head, Buffer.concat([bytes, consoleTail.bytes()]));
  for (const [name, column] of rows.columns) {
    assert.equal(data.column(name), column.slice(0, rows.length), name);
  }
  assert.equal(
    Array.from(data.edges.icount),
    [0, 0, 1000, 1000, 2000, 2000, 3000, 3000, 3500, 3500],
  );
  assert.is(Buffer.from(data.consoleBytes).toString(), 'hi');
  assert.is(data.printed.at(-1), 2);
  assert.throws(() => decode(head, bytes.subarray(0, 20)), /cut short/);
});

counting.run();

const damage = suite('timeline: damage');

damage('a batch that is missing is a gap, and nothing is guessed after it', async () => {
  const batch = (index: number): TimedBatch => ({
    records: [{ icount: index * 1000, vtimeNs: index * 9000, kind: 'NET_OUT', len: 60 }],
    sealedAtNs: SEALED + BigInt(index * 9000),
  });
  const digest = Buffer.alloc(40);
  digest.writeBigUInt64LE(5n, 32);
  const last: TimedBatch = {
    records: [{ icount: 6000, vtimeNs: 54_000, kind: 'DIGEST', channel: 1, payload: digest }],
    outputsReleased: 3,
    sealedAtNs: SEALED + 54_000n,
  };
  const frames = timedFrames([1, 2, 3, 4, 5].map(batch).concat(last));
  const dir = tempDir('gap');
  await writeFrames(
    dir,
    [0, 1, 3, 4, 5].map((index) => frames[index] ?? Buffer.alloc(0)),
  );
  const { rows, gaps, damageCount, partly, records } = await collect(dir);
  assert.is(records, 5);
  assert.ok(partly);
  assert.is(damageCount, 1);
  assert.is(gaps.length, 1);
  assert.is(gaps[0]?.from.icount, 2000);
  assert.is(gaps[0]?.to.icount, 4000);
  assert.match(gaps[0]?.reason ?? '', 'batch 3 where batch 2 should be');
  // 7 µs of each 9 are idle at 2 ns an instruction; only what is before the gap counts.
  assert.is(rows.sumOf('idleNs'), 2 * 7000);
  const held = Array.from(rows.column('held').subarray(0, rows.length));
  assert.is(held[3], 2);
  assert.ok(held.slice(4, -2).includes(HELD_UNKNOWN));
  assert.is(held.at(-1), 2, 'the digest says 5 packets, 3 had left');
});

damage('a torn tail: everything before it, and where it is', async () => {
  const dir = tempDir('torn');
  writeTimed(dir, timed);
  const file = join(dir, readdirSync(dir)[0] ?? '');
  writeFileSync(file, readFileSync(file).subarray(0, -10));
  const timeline = await collect(dir);
  assert.is(timeline.batches, 1);
  assert.is(timeline.end.icount, 2000);
  assert.is(timeline.gaps.at(-1)?.from.icount, 2000);
  assert.is(timeline.logEnd, null);
});

damage('bytes that are no log at all', async () => {
  const dir = tempDir('noise');
  writeFileSync(join(dir, '000001.udl'), Buffer.alloc(500, 7));
  const timeline = await collect(dir);
  assert.is(timeline.batches, 0);
  assert.is(timeline.rows.length, 0);
  assert.is(timeline.damageCount, 1);
});

damage('a clock that goes back', async () => {
  const dir = tempDir('back');
  const second = { ...timed[1], sealedAtNs: SEALED - 1_000_000n } as TimedBatch;
  writeTimed(dir, [timed[0] as TimedBatch, second]);
  const { rows, hostClockSetBack } = await collect(dir);
  assert.is(hostClockSetBack, 1);
  const hostNs = rows.column('hostNs').subarray(0, rows.length);
  assert.equal(hostNs, hostNs.slice().sort());
});

damage.run();

const parts = suite('timeline: parts');

parts('the guest clock counts nothing while the rate is not known', () => {
  const clock = new IdleTime();
  clock.jump(1000, 50_000);
  clock.advance(2000, 90_000);
  assert.is(clock.idleNs, 0);
  clock.set(0, Number(RATE_ONE));
  clock.advance(2500, 91_000);
  assert.is(clock.idleNs, 500);
  clock.advance(2500, 91_001);
  assert.is(clock.idleNs, 0, 'rounding is no idling');
});

parts('the newest console bytes are kept', () => {
  const tail = new ConsoleTail(10);
  for (const text of ['0123456789abc', 'de', 'fghij', 'klmno', 'p']) tail.append(Buffer.from(text));
  assert.is(tail.bytes().toString(), 'ghijklmnop');
  assert.is(tail.total, 26);
  tail.append(Buffer.from('A'.repeat(30)));
  assert.is(tail.bytes().toString(), 'A'.repeat(10));
});

parts('of too many things an even part is kept, first and last too', () => {
  const thinned = new Thinned<number>(10);
  for (let value = 0; value < 1000; value += 1) thinned.add(value);
  assert.ok(thinned.items.length <= 11);
  assert.is(thinned.items[0], 0);
  assert.is(thinned.items.at(-1), 999);
  assert.is(thinned.leftOut, 1000 - thinned.items.length);
  const few = new Thinned<number>(10);
  for (let value = 0; value < 10; value += 1) few.add(value);
  assert.equal(few.items, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

parts('a long log has a small page', async () => {
  const dir = tempDir('long');
  const kinds = ['NET_IN', 'NET_OUT', 'BLK_DONE', 'CLOCK'] as const;
  const batches = Array.from({ length: 500 }, (_, batch): TimedBatch => {
    const records = Array.from({ length: 100 }, (_, index) => {
      const at = batch * 100 + index;
      const kind = kinds[(at * 7) % 4] ?? 'NET_IN';
      const arg = kind === 'CLOCK' ? 2n * RATE_ONE : 0n;
      return { icount: at * 977, vtimeNs: at * 3001, kind, arg, len: 8 };
    });
    return { records, sealedAtNs: SEALED + BigInt(batch * 300_100) };
  });
  await writeFrames(dir, timedFrames(batches));
  const { rows, start } = await collect(dir);
  assert.is(rows.pointsPerRow, 2);
  assert.is(rows.length, Math.ceil((50_000 + 500) / 2));
  assert.is(rows.sumOf('kind:3'), 12_500);
  assert.ok(rows.encode(start).bytes.length < 1_000_000);
});

parts.run();
