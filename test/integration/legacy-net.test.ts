// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that drives virtio-net by its legacy interface, with a header of 10 bytes:
 * after a modern driver, before one, with checkpoints in between, and with a packet in
 * the device's queue while the drivers change.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { checkpointsOf, verifyFrom, verifyWhole } from '../lib/checkpoints.ts';
import { scratch, start } from '../lib/command.ts';
import { floodBroadcast, makeNetns } from '../lib/netns.ts';
import { referenceGuest } from '../lib/workloads.ts';

const BDF = '0000:00:10.0';
const DRIVER = '/sys/bus/pci/drivers/virtio-pci';
/** More than the program has receive buffers. */
const BURST = 40;

const dir = scratch('legacy-net');
const legacy = suite('a legacy virtio-net driver');

legacy('sends and receives whole frames, and so do modern ones before and after it', async () => {
  const netns = makeNetns('legacy');
  assert.ok(netns !== null, 'this test makes a network namespace: run it as root');
  try {
    const { append } = await referenceGuest();
    const guest = await testGuest(new Progress({ quietDone: true }));
    writeFileSync(
      join(dir, 'VM.toml'),
      `name = "legacy"\nmemory = "192M"\nkernel = ${JSON.stringify(guest.kernel)}\n` +
        `initrd = ${JSON.stringify(guest.initrd)}\n` +
        `append = ${JSON.stringify(`${append} ${guest.append} us.run=shell`)}\n` +
        `[[nic]]\ntap = "${netns.tap}"\n`,
    );
    const out = join(dir, 'recording');
    const words = ['record', join(dir, 'VM.toml'), '--out', out, '--checkpoint-every', '500ms'];
    const running = start(words, { prefix: netns.prefix });
    const does = async (line: string, says: string): Promise<void> => {
      running.child.stdin?.write(`${line}\n`);
      await running.printed(says);
    };
    const { hostIp, guestIp } = netns;
    const program = `legacy-net ${BDF} ${guestIp} ${hostIp}`;
    let round = 0;
    const modern = async (): Promise<void> => {
      round += 1;
      const up = `ip addr add ${guestIp}/24 dev eth0; ip link set eth0 up`;
      await does(
        `${up}; ping -c 3 -i 0.1 -w 5 -s 1000 ${hostIp} && echo modern-$((${round}))-works`,
        `modern-${round}-works`,
      );
    };
    await running.printed('guest# ');
    await does(
      `echo 2 >/proc/sys/vm/nr_hugepages; echo ${BDF} >${DRIVER}/unbind; ${program} 10 0.1`,
      'legacy-net: reset',
    );
    await does(`echo ${BDF} >${DRIVER}/bind; sleep 0.2; echo bound-$((1))-again`, 'bound-1-again');
    await modern();
    const again = `${program} 31 2; echo ${BDF} >${DRIVER}/bind; sleep 0.2`;
    await does(
      `echo ${BDF} >${DRIVER}/unbind; ${again}; echo bound-$((2))-again`,
      'legacy-net: 31 echoes',
    );
    const before = checkpointsOf(out).length;
    // One of these is in the device's queue when the next driver comes.
    floodBroadcast(netns, BURST, 500);
    await running.printed('bound-2-again');
    const icount = checkpointsOf(out)[before + 1];
    await modern();
    running.child.stdin?.write('exit\n');
    const { code, stderr, stdout } = await running.done;
    assert.is(code, 0, stderr);
    assert.not.match(stdout, /FAILED/);
    assert.ok(icount !== undefined, 'a checkpoint while the legacy driver has the device');
    const { failure } = await verifyFrom(out, icount);
    assert.is(failure, null, `from ${icount}: ${failure}`);
    assert.is((await verifyWhole(out)).failure, null);
  } finally {
    netns.remove();
  }
});

legacy.run();
