// SPDX-License-Identifier: Apache-2.0
/**
 * A backup joins over a link that is slower than the guest writes: the join is given up by name, the
 * guest has stood still for no longer than it may, and over a quicker link the backup joins.
 *
 *   npm test integration/slow-join
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeNetwork } from '../../src/lab/netns.ts';
import { scratch } from '../lib/command.ts';
import { sleep } from '../lib/fake-vm-pair.ts';
import { TwoHosts } from '../lib/two-hosts.ts';

const LONG_MS = 120_000;
/** What no compression makes smaller, to its disk, again and again. */
const WRITES =
  'head -c 8000000 /dev/urandom >/tmp/r; n=0; while :; do n=$((n+1)); ' +
  'dd if=/tmp/r of=/data/x bs=1M conv=fsync 2>/dev/null; echo tick $n; done &\n';
const SLOW = ['rate', '16mbit', 'burst', '70000b', 'latency', '50ms'];
/** The guest stands still for 2 s (src/replica/admission.ts), and a busy host takes its time. */
const STANDS_MS_MAX = 10_000;
const slow = suite('a join that is too slow');

slow('is given up by name, the guest goes on, and a later one succeeds', async () => {
  assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
  const dir = scratch('slow-join');
  const network = makeNetwork();
  const replication = ['protocol = "remus"', 'heartbeat_ms = 1000', 'heartbeat_missed = 30'];
  const hosts = new TwoHosts({ dir, network, replication, shell: true });
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
    await hosts.said('a', 'tick', LONG_MS, 3);
    shaping('add', 'dev', 'lo', 'root', 'tbf', ...SLOW);
    hosts.start('b', 'backup');
    const gaveUp = /could not join: it reads more slowly than the guest writes/;
    const seen = new Set<string>();
    let [last, lastMs, stoodMs] = [ticks(), performance.now(), 0];
    const deadlineMs = performance.now() + LONG_MS;
    for (;;) {
      const status = await hosts.status('a');
      const reason = status?.reason ?? '';
      seen.add(reason.replace(/.*joins: |; .*/g, '').replace(/[\d.]+/g, 'N'));
      const now = ticks();
      if (now > last) [last, lastMs] = [now, performance.now()];
      stoodMs = Math.max(stoodMs, performance.now() - lastMs);
      if (gaveUp.test(reason)) break;
      assert.ok(performance.now() < deadlineMs, [...seen].join('; '));
      await sleep(5);
    }
    console.log(`  the guest stood for ${Math.round(stoodMs)} ms; ${[...seen].join('; ')}`);
    assert.ok(stoodMs < STANDS_MS_MAX, `the guest stood for ${stoodMs} ms`);
    const before = ticks();
    await sleep(4000);
    const now = await hosts.status('a');
    assert.equal([now?.state, now?.term], ['needs-backup', 2], now?.reason);
    assert.ok(ticks() > before + 1, `${ticks() - before} rounds of the guest in 4 s`);
    assert.match(hosts.stderr('a'), /a guest that had to wait for the last one; again in \d+ s/);
    shaping('del', 'dev', 'lo', 'root');
    await hosts.until('a', 'protected', LONG_MS);
    await hosts.until('b', 'standby', LONG_MS);
  } finally {
    await hosts.destroy();
    network.remove();
  }
});

slow.run();
