// SPDX-License-Identifier: Apache-2.0
/** Patches of memory: what one is made of two, and that nothing wrong is believed of one. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { applyPatch, patchOf } from '../../native/kvm-exit-log/testing.ts';
import { errorCodeOf } from '../../src/base/errors.ts';
import { Random } from '../../src/lab/random.ts';
import { PAGE, page } from '../lib/image-epochs.ts';

const patches = suite('patches');

/** Pages of words from a few values, so that neighbours are often equal. */
function memory(pages: number, random: Random): Buffer {
  const bytes = Buffer.alloc(pages * PAGE);
  for (let at = 0; at < bytes.length; at += 8) {
    if (random.below(2) === 0) bytes.writeUInt32LE(random.below(2 ** 32), at);
  }
  return bytes;
}

/** Some of it is other: bytes, words, runs, whole pages. */
function changed(before: Buffer, random: Random): Buffer {
  const now = Buffer.from(before);
  const times = random.below(random.below(400) + 1);
  for (let n = 0; n < times; n += 1) {
    const at = random.below(now.length);
    const length = [1, 2, 8, 64, 700][random.below(5)] ?? 1;
    now.fill(random.below(256), at, Math.min(now.length, at + length));
  }
  if (random.below(10) === 0) now.fill(random.below(256), 0, PAGE);
  return now;
}

/** Its numbers: how much stays, how much comes. */
function runsOf(patch: Buffer): [number, number][] {
  let at = 0;
  const number = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = patch[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const runs: [number, number][] = [];
  while (at < patch.length) {
    const kept = number();
    const count = number();
    runs.push([kept, count]);
    at += count;
  }
  return runs;
}

patches('what is made of two is the second, applied to the first, once or twice', () => {
  const random = new Random(19);
  for (let n = 0; n < 300; n += 1) {
    const before = memory(1 + (n % 5), random);
    const now = changed(before, random);
    const known = Buffer.from(before);
    const patch = patchOf(known, now);
    assert.ok(known.equals(now), 'and who made it knows the second');
    const image = Buffer.from(before);
    applyPatch(image, patch);
    assert.ok(image.equals(now), `${n}`);
    applyPatch(image, patch);
    assert.ok(image.equals(now), `${n}, twice`);
    assert.ok(patch.length <= now.length + (now.length / PAGE) * 8, `${patch.length} bytes`);
  }
});

patches('what is equal is not in it', () => {
  const before = Buffer.alloc(3 * PAGE, 'a');
  const now = Buffer.from(before);
  assert.is(patchOf(Buffer.from(before), now).length, 0);
  now[PAGE - 1] = 1;
  now[PAGE] = 2;
  now.fill('b', 2 * PAGE + 8, 2 * PAGE + 16);
  now[2 * PAGE + 21] = 3;
  const patch = patchOf(before, now);
  // Runs end with their page; what lies between two and is as short as their numbers is in one.
  assert.equal(runsOf(patch), [
    [PAGE - 1, 1],
    [0, 1],
    [PAGE + 7, 8],
    [5, 1],
  ]);
  assert.is(patch.length, 3 + 3 + 3 + 8 + 2 + 3 - 2 + 1);
});

patches('a page that is other throughout is one run', () => {
  const patch = patchOf(Buffer.alloc(PAGE), Buffer.alloc(PAGE, 0xff));
  assert.equal(runsOf(patch), [[0, PAGE]]);
});

const CORRUPT = 'ERR_LOG_CORRUPT';

const refuses = (why: RegExp, ...bytes: number[]): void => {
  const room = Buffer.alloc(64, '.');
  assert.throws(
    () => applyPatch(room, Buffer.from(bytes)),
    (error: NodeJS.ErrnoException) => error.code === CORRUPT && why.test(error.message),
  );
  assert.ok(room.equals(Buffer.alloc(64, '.')));
};

patches('what is none is refused, by name', () => {
  refuses(/an empty run/, 0, 0);
  refuses(/half a number/, 0x80);
  refuses(/half a number/, 1);
  refuses(/half a number/, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 1);
  refuses(/not the bytes it says/, 0, 2, 1);
  refuses(/not the bytes it says/, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 1);
  refuses(/beyond the end/, 64, 1, 1);
  refuses(/beyond the end/, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1);
  applyPatch(Buffer.alloc(64), Buffer.from([63, 1, 1]));
  applyPatch(Buffer.alloc(64), Buffer.alloc(0));
});

patches('no bytes whatever change anything outside of its range', () => {
  const random = new Random(7);
  let refused = 0;
  for (let n = 0; n < 20_000; n += 1) {
    // It is damaged or made up, and lies in the middle of what must stay.
    const now = changed(Buffer.alloc(PAGE), random);
    const patch = n % 2 === 0 ? patchOf(Buffer.alloc(PAGE), now) : Buffer.alloc(40);
    for (let at = 0; at < 1 + (n % 8); at += 1) {
      const where = random.below(patch.length);
      if (patch.length > 0) patch[where] = random.below(256);
    }
    const room = Buffer.alloc(3 * PAGE, '.');
    const length = n % 3 === 0 ? random.below(patch.length + 1) : patch.length;
    try {
      applyPatch(room.subarray(PAGE, 2 * PAGE), patch.subarray(0, length));
    } catch (error) {
      assert.is(errorCodeOf(error), CORRUPT);
      refused += 1;
    }
    const stays = page('.');
    assert.ok(room.subarray(0, PAGE).equals(stays) && room.subarray(2 * PAGE).equals(stays));
  }
  assert.ok(refused > 1000 && refused < 19_000, `${refused} refused`);
});

patches.run();
