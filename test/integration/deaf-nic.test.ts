// SPDX-License-Identifier: Apache-2.0
/**
 * A NIC that is down in the guest takes nothing: packets for it wait, bounded, and hold
 * up neither a checkpoint nor a replay from one.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkpointsOf, verifyFrom, verifyWhole } from '../lib/checkpoints.ts';
import { scratch, start } from '../lib/command.ts';
import { floodBroadcast, makeNetns } from '../lib/netns.ts';
import { referenceGuest } from '../lib/workloads.ts';

const dir = scratch('deaf-nic');
const deaf = suite('a NIC that is down in the guest');

/** More than the guest's ring of receive buffers has. */
const BURST = 1500;
const EVERY_MS = 250;

deaf('checkpoints are made meanwhile, and replays from them are exact', async () => {
  const netns = makeNetns('deaf');
  assert.ok(netns !== null, 'this test makes a network namespace: run it as root');
  try {
    const guest = await referenceGuest();
    mkdirSync(dir, { recursive: true });
    const append = `${guest.append} us.run=shell us.ip=${netns.guestIp}/24`;
    writeFileSync(
      join(dir, 'VM.toml'),
      `name = "deaf"\nmemory = "128M"\nkernel = ${JSON.stringify(guest.kernel)}\n` +
        `initrd = ${JSON.stringify(guest.initrd)}\nappend = ${JSON.stringify(append)}\n` +
        `[[nic]]\ntap = "${netns.tap}"\n`,
    );
    const out = join(dir, 'recording');
    const words = ['record', join(dir, 'VM.toml'), '--out', out];
    const running = start([...words, '--checkpoint-every', `${EVERY_MS}ms`], {
      prefix: netns.prefix,
    });
    const type = (line: string): void => {
      running.child.stdin?.write(`${line}\n`);
    };
    await running.printed('guest# ');
    type('ip link set eth0 down; echo it-is-$((1))-down');
    await running.printed('it-is-1-down');
    floodBroadcast(netns, BURST, 1000);
    const before = checkpointsOf(out).length;
    // On a loaded host each takes longer than it is apart from the next.
    let during = 0;
    for (let waitedMs = 0; during < 3 && waitedMs < 40 * EVERY_MS; waitedMs += EVERY_MS) {
      await sleep(EVERY_MS);
      during = checkpointsOf(out).length - before;
    }
    type('ip link set eth0 up; ping -c 3 -i 0.2 -w 5 10.77.0.1 && echo it-is-$((2))-up');
    await running.printed('it-is-2-up');
    // Larger than a buffer: with mergeable ones each takes several.
    floodBroadcast(netns, 50, 1400);
    await sleep(2 * EVERY_MS);
    type('exit');
    const { code, stderr } = await running.done;
    assert.is(code, 0, stderr);
    assert.not.match(stderr, /skipped/);
    assert.ok(during >= 3, `${during} checkpoints while it was down\n${stderr}`);
    const icount = checkpointsOf(out)[before + 1] ?? '';
    const { failure } = await verifyFrom(out, icount);
    assert.is(failure, null, `from ${icount}: ${failure}`);
    assert.is((await verifyWhole(out)).failure, null);
  } finally {
    netns.remove();
  }
});

deaf.run();
