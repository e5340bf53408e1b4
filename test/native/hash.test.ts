// SPDX-License-Identifier: Apache-2.0
/** xxh64 and hashFile against the published vectors, holes, and files that are none. */
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hashFile, xxh64 } from '../../native/kvm-exit-log/index.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-hash-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

test('xxh64 gives the published values', () => {
  assert.is(xxh64(Buffer.alloc(0)), 0xef46db3751d8e999n);
  assert.is(xxh64(Buffer.from('a')), 0xd24ec4f1a98c6e5bn);
  assert.is(xxh64(Buffer.from('abc')), 0x44bc2cf5ad770999n);
  assert.is(xxh64(Buffer.alloc(0), 2654435761n), 0xac75fda2929b17efn);
});

test('a file hashes as its bytes do, with holes anywhere', async () => {
  const layouts: [string, [number, string][], number][] = [
    ['empty', [], 0],
    ['small', [[0, 'hello']], 5],
    ['all hole', [], 5_000_001],
    ['data in the middle', [[3_000_000, 'x'.repeat(70_000)]], 9_000_003],
    [
      'data at both ends',
      [
        [0, 'begin'],
        [4_194_300, 'end'],
      ],
      4_194_303,
    ],
    ['many holes', Array.from({ length: 40 }, (_, i) => [i * 131_072, `${i}`]), 6_000_000],
  ];
  for (const [name, pieces, bytes] of layouts) {
    const path = join(dir, name);
    const fd = openSync(path, 'w');
    for (const [at, text] of pieces) writeSync(fd, text, at);
    ftruncateSync(fd, bytes);
    closeSync(fd);
    const hash = await hashFile(path);
    assert.equal(hash, { xxh64: xxh64(readFileSync(path)), bytes }, name);
  }
});

test('what cannot be hashed rejects with the system code and the path', async () => {
  const cases: [string, string][] = [
    [join(dir, 'nothing here'), 'ENOENT'],
    [dir, 'EISDIR'],
    ['/dev/null', 'EINVAL'],
    [join(dir, 'small', 'x'), 'ENOTDIR'],
  ];
  writeFileSync(join(dir, 'small'), 'hello');
  for (const [path, code] of cases) {
    try {
      await hashFile(path);
      assert.unreachable(path);
    } catch (error) {
      assert.is((error as { code?: string }).code, code);
      assert.match((error as Error).message, path);
    }
  }
});

test.run();
