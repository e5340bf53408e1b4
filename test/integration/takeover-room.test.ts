// SPDX-License-Identifier: Apache-2.0
/**
 * The primary dies while the state folder of its backup is full: the take-over needs no room.
 *
 *   npm test integration/takeover-room
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { Client, TwoHosts } from '../lib/two-hosts.ts';

const LONG_MS = 60_000;
const BLOCK_BYTES = 4096;
/** Nobody is dead for standing still while a disk is filled. */
const PATIENT = ['heartbeat_ms = 1000', 'heartbeat_missed = 30'];
const room = suite('take-over without room');

/** Its daemon still runs, and may give back a block while this is going on. */
function fill(folder: string): void {
  for (let n = 0; n < 10 && statfsSync(folder).bavail > 0; n++) {
    try {
      const words = ['if=/dev/zero', `of=${join(folder, `filler-${n}`)}`, 'bs=64k'];
      execFileSync('dd', words, { stdio: 'ignore' });
    } catch {
      // dd says that there is no space left
    }
  }
  assert.is(statfsSync(folder).bavail, 0, 'it is full');
}

async function answered(client: Client, requests: number): Promise<void> {
  const endMs = performance.now() + LONG_MS;
  while (client.answered < requests) {
    assert.ok(performance.now() < endMs, `${client.answered} of ${requests} answers`);
    await sleep(50);
  }
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
      await answered(client, 200);
      for (const one of [qemu, pid]) process.kill(one, 'SIGSTOP');
      await sleep(200);
      const log = join(hosts.stateDir('b'), 'daemon.log');
      // To the end of a block: the next line finds no room in it.
      appendFileSync(log, '\n'.repeat(BLOCK_BYTES - (statSync(log).size % BLOCK_BYTES)));
      fill(state);
      for (const one of [qemu, pid]) process.kill(one, 'SIGKILL');
      const { term } = await hosts.until('b', 'needs-backup', LONG_MS);
      assert.is(term, 2);
      await sleep(500);
      const result = await client.finish();
      assert.equal([result.unanswered, result.corrupted, result.broken], [0, 0, 0]);
      assert.ok(result.acknowledged > 200, `${result.acknowledged} answers`);
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
