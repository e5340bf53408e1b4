// SPDX-License-Identifier: Apache-2.0
/** The harness's COLO pair on its own QEMU, which is built and cached at first. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { qemuPaths } from '#scripts/paths.mjs';
import { coloQemu } from '../../bench/peer-qemu.ts';
import type { BenchResults } from '../../bench/results.ts';
import { run, scratch } from '../lib/command.ts';

const colo = suite('bench: COLO');

const TIMEOUT_MS = 300_000;
const binary = await coloQemu();

async function bench(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number | null; results: BenchResults }> {
  const dir = scratch('colo');
  const out = join(dir, 'out');
  const all = ['bench', ...words, '--systems', 'colo', '--quick', '--out', out];
  const { code } = await run(all, {
    env: { UNDERSTUDY_PLAIN_QEMU: qemuPaths()?.binary ?? '', ...env },
    timeoutMs: TIMEOUT_MS,
  });
  const results = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as BenchResults;
  rmSync(dir, { recursive: true });
  return { code, results };
}

colo('two guests under netperf, through checkpoints, to their power-off', async () => {
  assert.ok(existsSync(binary));
  const { code, results } = await bench(['netperf'], { UNDERSTUDY_COLO_QEMU: binary });
  const pair = results.runs.find(({ system }) => system === 'colo');
  assert.is(pair?.invalid, null, pair?.invalid ?? 'it has run');
  assert.is(code, 0);
  const { TCP_STREAM, TCP_MAERTS, TCP_RR, UDP_RR } = pair?.values ?? {};
  for (const value of [TCP_STREAM, TCP_MAERTS, TCP_RR, UDP_RR]) assert.ok((value ?? 0) > 0);
  // Without its patch the first or the second checkpoint of a busy guest never ends.
  assert.ok((pair?.facts.checkpoints ?? 0) >= 2, JSON.stringify(pair?.facts));
  assert.ok((pair?.facts.checkpoint_pause_mean_ms ?? 0) > 0);
});

colo('a QEMU without COLO is asked, and the table says what it lacks', async () => {
  const { results } = await bench(['boot'], { UNDERSTUDY_COLO_QEMU: qemuPaths()?.binary ?? '' });
  assert.equal(
    results.runs.map(({ system }) => system),
    ['plain'],
  );
  assert.match(
    JSON.stringify(results),
    /no colo-compare and no filter-rewriter.*enable-colo-proxy/,
  );
});

colo.run();
