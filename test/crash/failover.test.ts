// SPDX-License-Identifier: Apache-2.0
/**
 * Each process of a protected VM killed by itself, at a random moment under load:
 * one VM goes on, nothing that was answered is lost, and what comes back from the
 * dead gives up. (test/campaign/failover.ts does it as often as wanted.)
 *
 *   SEED=N npm test crash/failover
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { playDemo, playEtcd } from '../lib/demo.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const crash = suite('a process of the pair dies');

const EXPECTED = {
  'primary-daemon': 'backup',
  'primary-qemu': 'backup',
  'backup-daemon': 'primary',
  'backup-qemu': 'primary',
  'primary-freeze': 'backup',
} as const;

for (const [fault, survivor] of Object.entries(EXPECTED)) {
  crash(fault, async () => {
    assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
    const words = ['--fault', fault, '--seed', String(seed)];
    const { code, json, stderr } = await playDemo([
      ...words,
      ...['--seconds-before', '0.5', '--seconds-after', '1.5'],
    ]);
    const again = `again with SEED=${seed} npm test crash/failover\n${stderr}`;
    assert.is(code, 0, `exit code ${code}: ${json?.problem ?? ''}\n${again}`);
    assert.is(json?.survivor, survivor, again);
    assert.is(json?.lost, 0, again);
    assert.is(json?.duplicated, 0, again);
  });
}

crash('the primary, where etcd decides', async () => {
  const keep = mkdtempSync(join(tmpdir(), 'understudy-etcd-kill-'));
  const vm = { protocol: 'lockstep', accel: 'tcg', vcpus: 1 } as const;
  const moments = { secondsBefore: 0.5, secondsAfter: 1.5 };
  const { code, json, stderr } = await playEtcd({
    fault: 'primary',
    seed,
    keep,
    ...moments,
    ...vm,
  });
  const again = `again with SEED=${seed} npm test crash/failover\n${stderr}`;
  assert.is(code, 0, `exit code ${code}: ${json?.problem ?? ''}\n${again}`);
  assert.equal([json?.survivor, json?.lost], ['backup', 0], again);
  rmSync(keep, { recursive: true });
});

crash.run();
