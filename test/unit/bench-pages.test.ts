// SPDX-License-Identifier: Apache-2.0
/** What the experiment `dirty-pages` reads of checkpoints. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { rowOf } from '../../bench/experiments/dirty-pages.ts';
import { countPages } from '../../bench/experiments/ram-pages.ts';

const pages = suite('pages');

pages('dirtied pages are of incremental checkpoints only', () => {
  const made = (kind: 'full' | 'incremental', vtimeMs: number, pages: number, pauseMs: number) => ({
    manifest: {
      kind,
      vtimeNs: BigInt(vtimeMs) * 1_000_000n,
      bytes: pages * 100,
      pause_ns: pauseMs * 1e6,
    },
    pages,
  });
  const list = [
    made('full', 100, 1000, 9),
    made('incremental', 200, 10, 2),
    made('incremental', 400, 30, 4),
  ];
  assert.equal(rowOf('cpu', 100, list), ['cpu', 100, 150, 2, 20, 2000, 3, 4]);
  assert.throws(() => rowOf('cpu', 100, list.slice(0, 1)), /no incremental/);
});

pages('pages of a checkpoint are counted by the heads of its runs', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'understudy-test-bench-')), 'ram');
  const head = (pageBytes: number, blocks: number) => {
    const bytes = Buffer.alloc(16 + blocks * 264);
    bytes.writeUInt32LE(pageBytes, 8);
    bytes.writeUInt32LE(blocks, 12);
    return bytes;
  };
  const run = (second: number, count: number, content: number) => {
    const bytes = Buffer.alloc(24 + content);
    bytes.writeUInt32LE(second, 4);
    bytes.writeBigUInt64LE(BigInt(count), 16);
    return bytes;
  };
  writeFileSync(file, Buffer.concat([head(64, 2), run(0, 3, 192), run(1, 5, 0), run(0, 1, 64)]));
  assert.is(countPages(file, 1), 9);
  writeFileSync(file, Buffer.concat([head(64, 1), run(50, 3, 50), run(0, 5, 0), run(64, 1, 64)]));
  assert.is(countPages(file, 2), 9);
  rmSync(join(file, '..'), { recursive: true });
});

pages.run();
