// SPDX-License-Identifier: Apache-2.0
/**
 * The demo as a user has it: it survives, and says so in the promised fields.
 *
 *   SEED=N npm test integration/failover
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { playDemo } from '../lib/demo.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/failover`;
const failover = suite('failover');

const FIELDS = [
  'survived',
  'requests',
  'lost',
  'corrupted',
  'reconnects',
  'stall_ms',
  'detect_ms',
  'golive_ms',
  'log_bytes_per_s',
  'disk_ok',
];

for (const fault of ['primary', 'backup', 'link']) {
  failover(`${fault}: the client's connection outlives it`, async () => {
    assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
    const words = ['--fault', fault, '--seed', String(seed), '--seconds-before', '1'];
    const { code, json, stderr } = await playDemo([...words, '--seconds-after', '1']);
    assert.is(code, 0, `${json?.problem ?? ''} ${again}\n${stderr}`);
    for (const field of FIELDS) assert.ok(json !== null && field in json, field);
    assert.ok((json?.requests ?? 0) > 50, `only ${json?.requests} requests`);
    if (fault !== 'link') {
      assert.is(json?.survivor, fault === 'primary' ? 'backup' : 'primary');
    }
  });
}

failover('in epochs, too: the primary dies, and the client goes on', async () => {
  const words = ['--protocol', 'lockstep-epoch', '--seed', String(seed)];
  const { code, json, stderr } = await playDemo([
    ...words,
    ...['--seconds-before', '1', '--seconds-after', '1'],
  ]);
  assert.is(code, 0, `${json?.problem ?? ''} ${again}\n${stderr}`);
  assert.is(json?.survivor, 'backup');
});

failover.run();
