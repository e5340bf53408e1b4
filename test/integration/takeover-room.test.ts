// SPDX-License-Identifier: Apache-2.0
/**
 * The primary dies while the state folder of its backup is full: the take-over needs no room.
 *
 *   npm test integration/takeover-room
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { Client, TwoHosts } from '../lib/two-hosts.ts';

const LONG_MS = 60_000;
/** Nobody is dead for standing still while a disk is filled. */
const PATIENT = ['heartbeat_ms = 1000', 'heartbeat_missed = 30'];
const room = suite('take-over without room');

function fill(folder: string): void {
  try {
    const words = ['if=/dev/zero', `of=${join(folder, 'filler')}`, 'bs=64k'];
    execFileSync('dd', words, { stdio: 'ignore' });
  } catch {
    // dd says that there is no space left
  }
  assert.is(statfsSync(folder).bavail, 0, 'it is full');
}

for (const protocol of ['lockstep', 'remus']) {
  room(`${protocol}: the VM goes on, and the client keeps its connection`, async () => {
    assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
    const dir = mkdtempSync(join(tmpdir(), 'understudy-room-'));
    const network = makeNetwork();
    const replication = [`protocol = "${protocol}"`, ...PATIENT];
    const hosts = new TwoHosts({ dir, network, replication });
    const state = hosts.stateRoot('b');
    mkdirSync(state);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m', 'understudy-test', state]);
    let client: Client | null = null;
    try {
      hosts.start('a', 'primary');
      hosts.start('b', 'backup');
      const { pid, qemu_pid: qemu } = await hosts.until('a', 'protected', LONG_MS);
      assert.ok(qemu !== null);
      await hosts.serving('a', LONG_MS);
      client = new Client(network, 1);
      await sleep(1500);
      assert.ok(client.connected);
      for (const one of [qemu, pid]) process.kill(one, 'SIGSTOP');
      await sleep(200);
      fill(state);
      for (const one of [qemu, pid]) process.kill(one, 'SIGKILL');
      const { term } = await hosts.until('b', 'needs-backup', LONG_MS);
      assert.is(term, 2);
      await sleep(500);
      const result = await client.finish();
      assert.equal([result.unanswered, result.corrupted, result.broken], [0, 0, 0]);
      assert.ok(result.acknowledged > 100, `${result.acknowledged} answers`);
    } finally {
      client?.kill();
      await hosts.destroy();
      execFileSync('umount', [state]);
      network.remove();
      rmSync(dir, { recursive: true, force: true });
    }
  });
}

room.run();
