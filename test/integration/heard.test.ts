// SPDX-License-Identifier: Apache-2.0
/**
 * A switch that sends the VM's frames to both sides: what reaches a primary that is dying is
 * given to the guest by the survivor, and nothing twice. Nobody sends any of it again: it is ICMP.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root, scratch } from '../lib/command.ts';
import { Pair, type Side } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const heard = suite('heard');

const BOOT_MS = 240_000;
/** Longer than a packet that was heard is kept (qemu/exitlog/exits/heard.c). */
const BEFORE_MS = 1500;
/** The primary's QEMU stands still, and its tap hears; less than its daemon lets it. */
const DYING_MS = 100;

/** Echo requests that the guest's kernel has had. */
async function requestsIn(pair: Pair, side: Side): Promise<number> {
  const count = (): number[] =>
    [...pair.console(side).matchAll(/^Icmp: \d+ \d+ \d+ \d+ \d+ \d+ \d+ \d+ (\d+)/gm)].map((one) =>
      Number(one[1]),
    );
  const before = count().length;
  await pair.type(side, 'grep Icmp: /proc/net/snmp\n');
  await pair.until('the guest says what it has had', () => count().length > before);
  return count().at(-1) ?? Number.NaN;
}

heard('what a dying primary was sent reaches the guest, once', async () => {
  const guest = await referenceGuest();
  const pair = Pair.start(scratch('heard'), guest, [], {
    runs: 'us.run=shell',
    switches: 'to-both',
  });
  try {
    const prompt = (): boolean => pair.console('primary').includes('guest# ');
    await pair.until('a prompt', prompt, BOOT_MS);
    await pair.until('protection', async () => {
      return (await pair.status('primary'))?.state === 'protected';
    });
    const before = await requestsIn(pair, 'primary');
    const pinger = pair.spawn('python3', join(root, 'test/lib/pinger.py'), pair.guestIp);
    let told = '';
    pinger.stdout?.on('data', (bytes: Buffer) => {
      told += bytes.toString();
    });
    await sleep(BEFORE_MS);
    process.kill(Number((await pair.status('primary'))?.qemu_pid), 'SIGSTOP');
    await sleep(DYING_MS);
    pair.signal('primary', 'SIGKILL');
    await pair.until('the backup is live', async () => {
      return (await pair.status('backup'))?.state === 'needs-backup';
    });
    await sleep(BEFORE_MS);
    pinger.stdin?.end();
    await pair.until('the pinger ends', () => told.endsWith('\n'));
    const { sent, unanswered } = JSON.parse(told) as { sent: number; unanswered: number[] };
    assert.ok(sent > 100, `${sent} sent`);
    assert.equal(unanswered, [], 'each is answered');
    assert.is((await requestsIn(pair, 'backup')) - before, sent, 'each was received once');
  } finally {
    await pair.end();
  }
});

heard.run();
