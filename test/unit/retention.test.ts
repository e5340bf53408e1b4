// SPDX-License-Identifier: Apache-2.0
/** What is kept of a recording that goes on: a day of it, and limits that meet. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseRetain } from '../../src/cli/arguments.ts';
import {
  chainMaxFor,
  condemned,
  type Generation,
  RETAIN_DEFAULT,
} from '../../src/retain/limits.ts';

const NONE = { count: null, ageMs: null, bytes: null };
const some = (length: number, checkpoints = 10, bytes = 100): Generation[] =>
  Array.from({ length }, (_, n) => ({ createdMs: n * 1000, checkpoints, bytes }));

test('limits by count, by age, by size; one is enough', () => {
  assert.is(condemned(some(10), NONE, 1e9), 0);
  assert.is(condemned(some(10), { ...NONE, count: 25 }, 0), 7, '30 are left, 20 would be too few');
  assert.is(condemned(some(10), { ...NONE, count: 30 }, 0), 7);
  // At 9.5 s the one of 6 s and what follows go back 3.5 s, the one of 7 s only 2.5 s.
  assert.is(condemned(some(10), { ...NONE, ageMs: 3000 }, 9500), 6);
  assert.is(condemned(some(10), { ...NONE, bytes: 450 }, 0), 6);
  assert.is(condemned(some(10), { count: 25, ageMs: 3000, bytes: 450 }, 9500), 7);
});

test('the newest stays, whatever the limits', () => {
  assert.is(condemned(some(3), { count: 1, ageMs: 1, bytes: 1 }, 1e9), 2);
  assert.is(condemned(some(1), { count: 1, ageMs: 1, bytes: 1 }, 1e9), 0);
  assert.is(condemned([], { count: 1, ageMs: 1, bytes: 1 }, 1e9), 0);
});

test('a day at a checkpoint every 10 s stays within 1 h or 2 GB at every moment', () => {
  const GENERATION_S = 310; // a full one and 30 that add to it
  for (const limits of [
    { ...NONE, ageMs: 3_600_000 },
    { ...NONE, bytes: 2e9 },
  ]) {
    let kept: Generation[] = [];
    for (let nowS = 0; nowS < 86_400; nowS += GENERATION_S) {
      const bytes = 100e6 + (nowS % 7) * 20e6;
      kept = [...kept, { createdMs: nowS * 1000, checkpoints: 31, bytes }];
      kept = kept.slice(condemned(kept, limits, nowS * 1000));
      const agedS = nowS - (kept[0]?.createdMs ?? 0) / 1000;
      const total = kept.reduce((sum, one) => sum + one.bytes, 0);
      if (limits.ageMs !== null) assert.ok(agedS <= 3600 + GENERATION_S, `${agedS} s`);
      if (limits.ageMs !== null && nowS > 4000) assert.ok(agedS >= 3600, `${agedS} s`);
      if (limits.bytes !== null) assert.ok(total <= 2e9, `${total} bytes`);
    }
  }
});

test('chains are short against what is kept', () => {
  assert.is(chainMaxFor({ ...NONE, bytes: 1e9 }, 10_000, 30), 30);
  assert.is(chainMaxFor({ ...NONE, count: 100 }, 10_000, 30), 24);
  assert.is(chainMaxFor({ ...NONE, ageMs: 600_000 }, 10_000, 30), 14);
  assert.is(chainMaxFor({ ...NONE, count: 1 }, 10_000, 30), 0, 'all are full ones');
  assert.is(chainMaxFor({ ...NONE, ageMs: 600_000 }, 0, 30), 30, 'by instructions: not known');
});

test('as they are written', () => {
  assert.equal(parseRetain('24h,20G'), { count: null, ageMs: 86_400_000, bytes: 20e9 });
  assert.equal(parseRetain('100'), { ...NONE, count: 100 });
  assert.equal(parseRetain('512Mi'), { ...NONE, bytes: 512 * 2 ** 20 });
  assert.equal(parseRetain(RETAIN_DEFAULT), { count: null, ageMs: 86_400_000, bytes: 1e9 });
  for (const wrong of ['', '0', '24x', '20G,', '0h', '-1']) {
    assert.throws(() => parseRetain(wrong), /must be/i, wrong);
  }
});

test.run();
