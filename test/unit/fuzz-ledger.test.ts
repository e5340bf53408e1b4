// SPDX-License-Identifier: Apache-2.0
/** What `npm run fuzz` says of a target: whether it still learns, and the time it has had. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GrowthReader } from '../lib/fuzz/growth.ts';
import { LEDGER, type Ledger, readLedger, withResult, writeLedger } from '../lib/fuzz/ledger.ts';
import { allTargets, type FuzzResult } from '../lib/fuzz/run.ts';
import { sourcesOf } from '../lib/fuzz/sources.ts';

const ledger = suite('fuzz-ledger');

ledger("growth is read from libFuzzer's lines, however they are cut", () => {
  const said = [
    '#90\tINITED cov: 210 ft: 341 corp: 30/1b exec/s: 0 rss: 40Mb',
    '#95\tREDUCE cov: 210 ft: 341 corp: 30/1b lim: 4 exec/s: 0 rss: 40Mb L: 3/9 MS: 1 EraseBytes-',
    '#99\tNEW    cov: 211 ft: 344 corp: 31/2b lim: 4 exec/s: 0 rss: 40Mb L: 3/9 MS: 1 EraseBytes-',
    '#200\tpulse  cov: 211 ft: 344 corp: 31/2b lim: 4 exec/s: 0 rss: 40Mb',
    '#200\tDONE   cov: 211 ft: 344 corp: 31/2b lim: 4 exec/s: 0 rss: 40Mb\n',
  ].join('\n');
  for (const cut of [1, 7, said.length]) {
    const reader = new GrowthReader();
    let now = 0;
    for (let at = 0; at < said.length; at += cut) {
      reader.read(said.slice(at, at + cut), () => ++now);
    }
    assert.equal(reader.end(5), { from: 341, to: 344, quietCpuSeconds: 4 });
  }
});

ledger('a run without anything new was quiet from its begin', () => {
  const reader = new GrowthReader();
  reader.read('INITED ft: 12\n', () => 3);
  assert.equal(reader.end(5), { from: 12, to: 12, quietCpuSeconds: 5 });
});

const result = (growth: FuzzResult['growth'], finding: FuzzResult['finding'] = null) => ({
  ...{ target: 'ack', seconds: 10, cpuSeconds: 10.25, runs: 7 },
  ...{ growth, finding },
});
const grew = result({ from: 1, to: 2, quietCpuSeconds: 4 });
const quiet = result({ from: 2, to: 2, quietCpuSeconds: 10.25 });

ledger('time adds up, and silence, until a target has other sources', () => {
  const had = [grew, quiet].reduce((all: Ledger, run) => withResult(all, run, 'one'), {});
  assert.equal(had.ack, {
    ...{ sources: 'one', cpuSeconds: 20.6, inputs: 14, features: 2 },
    ...{ quietCpuSeconds: 14.3, earlierCpuSeconds: 0, found: 0 },
  });
  const found = withResult(had, { ...quiet, finding: { file: 'f', said: 's' } }, 'one');
  assert.equal(withResult(found, grew, 'two').ack, {
    ...{ sources: 'two', cpuSeconds: 10.3, inputs: 7, features: 2 },
    ...{ quietCpuSeconds: 4, earlierCpuSeconds: 30.9, found: 1 },
  });
});

ledger('it is a line for each target, and the one that is committed can be read', () => {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-ledger-'));
  try {
    const path = join(dir, 'ledger.json');
    const both = {
      ...withResult({}, { ...grew, target: 'tls' }, 'x'),
      ...withResult({}, grew, 'y'),
    };
    writeLedger(path, both);
    assert.equal(readLedger(path), both);
    assert.is(readFileSync(path, 'utf8').split('\n').length, 5);
  } finally {
    rmSync(dir, { recursive: true });
  }
  const targets = allTargets();
  for (const target of Object.keys(readLedger(LEDGER))) assert.ok(targets.includes(target), target);
});

ledger("a target's sources are what it includes or imports, and no more", () => {
  const has = (target: string, file: string): boolean => sourcesOf(target).includes(file);
  assert.ok(has('image', 'native/kvm-exit-log/addon/image/image.cc'));
  assert.ok(has('image', 'native/kvm-exit-log/include/exitlog_abi.h'));
  assert.not.ok(has('ack', 'native/kvm-exit-log/addon/image/image.cc'));
  assert.ok(has('hello', 'src/wire/messages.ts'));
  assert.ok(has('hello', 'test/lib/fuzz/mutate.ts'));
  assert.ok(has('pack', 'src/pack/unpack.ts'));
  assert.not.ok(has('hello', 'src/pack/unpack.ts'));
});

ledger.run();
