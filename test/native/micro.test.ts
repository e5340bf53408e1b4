// SPDX-License-Identifier: Apache-2.0
/** The micro-benchmarks run, and say something of each; how fast is not looked at. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));
const NAMES = [
  ...['codec/verify', 'codec/records', 'codec/ack-write', 'ring/fill', 'ring/fill-payload'],
  ...['ring/seal', 'ring/seal-payload', 'segment/read', 'segment/ship', 'segment/ship-durable'],
];

function micro(...words: string[]) {
  const command = ['--import', 'tsx', 'bench/micro.ts', ...words];
  return spawnSync(process.execPath, command, { cwd: root, encoding: 'utf8', timeout: 120_000 });
}

test('every one of them gives a time and a rate', () => {
  const { status, stdout, stderr } = micro('--seconds', '0.02');
  assert.is(status, 0, stderr);
  const { results } = JSON.parse(stdout);
  for (const name of NAMES) {
    const found = results[name];
    assert.ok(found?.us > 0 && found.samples > 0 && found.mb_per_s > 0, `${name}: ${stdout}`);
  }
});

test('some by name; nonsense is refused', () => {
  const { stdout } = micro('--seconds', '0.02', '--only', 'codec/header,ring/status');
  assert.equal(Object.keys(JSON.parse(stdout).results), ['codec/header', 'ring/status']);
  assert.is(micro('--seconds', 'many').status, 2);
});

test.run();
