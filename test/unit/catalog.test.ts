// SPDX-License-Identifier: Apache-2.0
/** What prune decides, sizes and ages as they are typed, links, and sparse writing. */
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { POWER_ON } from '../../src/base/position.ts';
import { isZero, writeSparse } from '../../src/base/sparse.ts';
import type { Run } from '../../src/catalog/catalog.ts';
import { addLink, listLinks, removeLink } from '../../src/catalog/links.ts';
import { type Criteria, prune } from '../../src/catalog/prune.ts';
import { parseAge, parseBytes, parseCount } from '../../src/cli/arguments.ts';

const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
const DAY_MS = 86_400_000;

function runAt(name: string, ageDays: number, diskBytes: number, more: Partial<Run> = {}): Run {
  return {
    dir: name,
    state: 'complete',
    reason: null,
    vmId: name,
    name,
    created: new Date(NOW_MS - ageDays * DAY_MS).toISOString(),
    position: POWER_ON,
    wallS: 1,
    digest: null,
    logBytes: 1,
    diskBytes,
    segments: 1,
    digests: 1,
    checkpoints: 0,
    ...more,
  };
}

/** Newest first. */
const RUNS = [runAt('d', 1, 10), runAt('c', 2, 20), runAt('b', 3, 30), runAt('a', 4, 40)];
const NONE: Criteria = { keep: null, olderThanMs: null, totalBytesMax: null };

/** Names deleted; those `busy` cannot be. */
function pruned(criteria: Partial<Criteria>, runs = RUNS, busy = ''): string {
  const refuse = ({ dir }: Run) => (busy.includes(dir) ? { inUse: true, because: 'in use' } : null);
  return prune(runs, { ...NONE, ...criteria }, NOW_MS, refuse)
    .filter(({ refusal }) => refusal === null)
    .map(({ run }) => run.dir)
    .join('');
}

const deciding = suite('prune decides');

deciding('by count, age and size; the oldest first', () => {
  assert.is(pruned({}), '');
  assert.is(pruned({ keep: 0 }), 'abcd');
  assert.is(pruned({ keep: 3 }), 'a');
  assert.is(pruned({ keep: 9 }), '');
  assert.is(pruned({ olderThanMs: 2.5 * DAY_MS }), 'ab');
  assert.is(pruned({ olderThanMs: 4 * DAY_MS }), '', 'older, not as old');
  assert.is(pruned({ totalBytesMax: 100 }), '');
  assert.is(pruned({ totalBytesMax: 99 }), 'a');
  assert.is(pruned({ totalBytesMax: 30 }), 'ab');
  assert.is(pruned({ totalBytesMax: 0 }), 'abcd');
});

deciding('one criterion is enough', () => {
  assert.is(pruned({ keep: 3, olderThanMs: 2.5 * DAY_MS, totalBytesMax: 10 }), 'abc');
});

deciding('for one that is in use another one makes room, but none for the count', () => {
  assert.is(pruned({ totalBytesMax: 60 }, RUNS, 'a'), 'bc');
  assert.is(pruned({ keep: 2 }, RUNS, 'a'), 'b');
});

deciding('those that are missing count for nothing; one without a date is not old', () => {
  const gone = runAt('x', 0, 0, { state: 'missing' });
  assert.is(pruned({ keep: 3 }, [gone, ...RUNS]), 'a');
  assert.is(pruned({ olderThanMs: 0 }, [runAt('y', 9, 1, { created: null })]), '');
});

deciding.run();

const typed = suite('sizes and ages');

typed('as they are typed', () => {
  assert.is(parseAge('30d'), 30 * DAY_MS);
  assert.is(parseAge('1.5h'), 5_400_000);
  assert.is(parseAge('2w'), 14 * DAY_MS);
  assert.is(parseBytes('10G'), 1e10);
  assert.is(parseBytes('1.5GB'), 1.5e9);
  assert.is(parseBytes('4Ki'), 4096);
  assert.is(parseBytes('2TiB'), 2 ** 41);
  assert.is(parseBytes('500000'), 500_000);
  assert.is(parseCount('12'), 12);
  for (const text of ['', '30', 'd', '-1d', '30 d', '1e3d'])
    assert.throws(() => parseAge(text), /30d/);
  for (const text of ['', 'G', '-1G', '10 G', '1P']) assert.throws(() => parseBytes(text), /10G/);
  for (const text of ['', '-1', '1.5', 'x']) assert.throws(() => parseCount(text), /whole/);
});

typed.run();

const files = suite('files');
let dir = '';
files.before.each(() => {
  dir = mkdtempSync(join(tmpdir(), 'understudy-catalog-'));
});
files.after.each(() => rmSync(dir, { recursive: true, force: true }));

files('links: made once, listed, removed, into nowhere too', () => {
  assert.equal(listLinks(dir), []);
  mkdirSync(join(dir, 'there'));
  for (const path of [join(dir, 'there'), '/nowhere/at all']) {
    addLink(dir, path);
    addLink(dir, path);
  }
  assert.equal(listLinks(dir).sort(), ['/nowhere/at all', join(dir, 'there')].sort());
  removeLink(dir, join(dir, 'there'));
  removeLink(dir, join(dir, 'there'));
  assert.equal(listLinks(dir), ['/nowhere/at all']);
});

files('zeros are not written, everything else is, where it belongs', async () => {
  const BLOCK = 4096;
  const content = Buffer.alloc(20 * BLOCK + 5);
  content.write('head', 0);
  content.write('across', 3 * BLOCK - 3);
  content.write('tail', 20 * BLOCK + 1);
  const file = await open(join(dir, 'x'), 'w');
  await writeSparse(file, content, 7 * BLOCK);
  await file.close();
  const written = await readFile(join(dir, 'x'));
  assert.ok(written.subarray(7 * BLOCK).equals(content));
  assert.ok(isZero(written.subarray(0, 7 * BLOCK)));
  assert.ok(statSync(join(dir, 'x')).blocks * 512 <= 5 * BLOCK);
  assert.not.ok(isZero(content));
  assert.ok(isZero(Buffer.alloc(BLOCK + 1)));
  assert.not.ok(isZero(Buffer.from([...Buffer.alloc(BLOCK), 1])));
});

files.run();
