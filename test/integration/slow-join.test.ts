// SPDX-License-Identifier: Apache-2.0
/**
 * A backup joins over a link that is slower than the guest writes: the guest does not stand still
 * for it for long, and with a link that is quick enough it joins.
 *
 *   npm test integration/slow-join
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { TwoHosts } from '../lib/two-hosts.ts';

const LONG_MS = 90_000;
const WRITES =
  'head -c 16000000 /dev/urandom >/tmp/r; n=0; while :; do n=$((n+1)); ' +
  'dd if=/tmp/r of=/data/x bs=1M conv=fsync 2>/dev/null; echo tick $n; done &\n';
const slow = suite('slow join');

slow('the join is given up by name, the guest goes on, and a later one succeeds', async () => {
  assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
  const dir = mkdtempSync(join(tmpdir(), 'understudy-slow-'));
  const network = makeNetwork();
  const replication = ['protocol = "remus"', 'heartbeat_ms = 1000', 'heartbeat_missed = 30'];
  const hosts = new TwoHosts({ dir, network, replication, shell: true });
  /** Rounds of the guest. */
  const ticks = (): number =>
    readFileSync(join(hosts.stateDir('a'), 'console.log'), 'latin1').split('tick').length;
  const shaping = (...words: string[]): void => {
    execFileSync('tc', ['-n', network.name, 'qdisc', ...words], { stdio: 'pipe' });
  };
  try {
    hosts.start('a', 'primary');
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', LONG_MS);
    await hosts.said('a', 'guest# ', LONG_MS);
    await hosts.crash('b');
    await hosts.until('a', 'needs-backup', LONG_MS);
    await hosts.command('a', { cmd: 'console-input', text: WRITES });
    hosts.start('b', 'backup');
    const reason = async (words: RegExp): Promise<void> => {
      const deadlineMs = performance.now() + LONG_MS;
      for (;;) {
        const now = (await hosts.status('a'))?.reason ?? '';
        if (words.test(now)) return;
        assert.ok(performance.now() < deadlineMs, now);
        await sleep(5);
      }
    };
    // Its disks have come, and its QEMU starts: now the link becomes slow.
    await reason(/waiting for the backup's QEMU|copying memory/);
    const rate = ['rate', '2mbit', 'burst', '256kb', 'latency', '500ms'];
    shaping('add', 'dev', 'lo', 'root', 'tbf', ...rate);
    await reason(/could not join: it reads more slowly than the guest writes/);
    const before = ticks();
    await sleep(4000);
    const now = await hosts.status('a');
    assert.equal([now?.state, now?.term], ['needs-backup', 2], now?.reason);
    assert.ok(ticks() > before + 1, `${ticks() - before} rounds of the guest in 4 s`);
    assert.match(
      hosts.stderr('a'),
      /the primary has: a guest that had to wait for the last one; again in \d+ s/,
    );
    shaping('del', 'dev', 'lo', 'root');
    await hosts.until('a', 'protected', LONG_MS);
    await hosts.until('b', 'standby', LONG_MS);
  } finally {
    await hosts.destroy();
    network.remove();
    rmSync(dir, { recursive: true, force: true });
  }
});

slow.run();
