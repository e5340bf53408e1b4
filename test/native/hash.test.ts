// SPDX-License-Identifier: Apache-2.0
/** xxh64, hashFile and hashBlocks against the published vectors, holes, and files that are none. */
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hashBlocks, hashFile, xxh64 } from '../../native/kvm-exit-log/index.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-hash-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

test('xxh64 gives the published values', () => {
  assert.is(xxh64(Buffer.alloc(0)), 0xef46db3751d8e999n);
  assert.is(xxh64(Buffer.from('a')), 0xd24ec4f1a98c6e5bn);
  assert.is(xxh64(Buffer.from('abc')), 0x44bc2cf5ad770999n);
  assert.is(xxh64(Buffer.alloc(0), 2654435761n), 0xac75fda2929b17efn);
});

/** Name, pieces, size. */
const LAYOUTS: [string, [number, string][], number][] = [
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

function layOut(name: string, pieces: [number, string][], bytes: number): string {
  const path = join(dir, name);
  const fd = openSync(path, 'w');
  for (const [at, text] of pieces) writeSync(fd, text, at);
  ftruncateSync(fd, bytes);
  closeSync(fd);
  return path;
}

test('a file hashes as its bytes do, with holes anywhere', async () => {
  for (const [name, pieces, bytes] of LAYOUTS) {
    const path = layOut(name, pieces, bytes);
    const hash = await hashFile(path);
    assert.equal(hash, { xxh64: xxh64(readFileSync(path)), bytes }, name);
  }
});

test('the blocks of a file hash as their bytes do, the last one shorter', async () => {
  for (const [name, pieces, bytes] of LAYOUTS) {
    const path = layOut(name, pieces, bytes);
    const whole = readFileSync(path);
    for (const blockBytes of [4096, 12_288, 65_536, 1 << 20]) {
      const want = Array.from({ length: Math.ceil(bytes / blockBytes) }, (_, i) =>
        xxh64(whole.subarray(i * blockBytes, (i + 1) * blockBytes)),
      );
      const blocks = await hashBlocks(path, blockBytes);
      assert.ok(blocks instanceof BigUint64Array);
      assert.equal([...blocks], want, `${name}, blocks of ${blockBytes}`);
    }
  }
});

test('a hole of a terabyte is not read', async () => {
  const path = layOut('vast', [[1 << 20, 'x']], 2 ** 40);
  const from = performance.now();
  const blocks = await hashBlocks(path, 1 << 20);
  assert.is(blocks.length, 1 << 20);
  assert.is(new Set(blocks).size, 2);
  assert.ok(performance.now() - from < 10_000);
});

test('a file that shrinks while it is hashed is an error, data or hole', async () => {
  const SIZES: [[number, string][], number][] = [
    [[], 2 ** 39],
    [[[0, 'x'.repeat(32 << 20)]], 32 << 20],
  ];
  for (const [pieces, bytes] of SIZES) {
    const codes = new Set<string>();
    // Nobody tells when it is in the middle of it.
    for (let delayMs = 0; delayMs < 40 && !codes.has('EIO'); delayMs++) {
      const path = layOut('shrinks', pieces, bytes);
      const hashing = hashBlocks(path, 65_536).then(
        () => 'whole',
        (error: { code?: string }) => String(error.code),
      );
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      truncateSync(path, 4096);
      codes.add(await hashing);
    }
    assert.ok(codes.has('EIO'), `${bytes} bytes: ${[...codes]}`);
  }
});

test('blocks are of whole pages, up to a megabyte', async () => {
  const path = layOut('blocks', [], 5000);
  for (const [blockBytes, code] of [
    [0, 'ERR_OUT_OF_RANGE'],
    [4095, 'ERR_OUT_OF_RANGE'],
    [6144, 'ERR_OUT_OF_RANGE'],
    [(1 << 20) + 4096, 'ERR_OUT_OF_RANGE'],
    [1.5, 'ERR_OUT_OF_RANGE'],
    ['4096', 'ERR_INVALID_ARG_TYPE'],
  ] as [number, string][]) {
    try {
      await hashBlocks(path, blockBytes);
      assert.unreachable(`${blockBytes}`);
    } catch (error) {
      assert.is((error as { code?: string }).code, code);
      assert.match((error as Error).message, '`blockBytes` must be');
    }
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
    for (const hash of [() => hashFile(path), () => hashBlocks(path, 4096)]) {
      try {
        await hash();
        assert.unreachable(path);
      } catch (error) {
        assert.is((error as { code?: string }).code, code);
        assert.match((error as Error).message, path);
      }
    }
  }
});

test.run();
