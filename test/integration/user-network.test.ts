// SPDX-License-Identifier: Apache-2.0
/** A NIC with `user = true`: no root, no tap; what the user-mode network answers is logged. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runJson, scratch, start } from '../lib/command.ts';
import { referenceGuest } from '../lib/workloads.ts';

const user = suite('user-mode network');
const dir = scratch('user-network');
const out = join(dir, 'recording');

user('the guest reaches its gateway, and the replay has the answers from the log', async () => {
  const guest = await referenceGuest();
  const append = `${guest.append} us.run=shell us.ip=10.0.2.15/24 us.gw=10.0.2.2`;
  const lines = [
    'name = "user-network"',
    `kernel = ${JSON.stringify(guest.kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(append)}`,
    '[[nic]]',
    'user = true',
  ];
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\n`);
  const record = start(['record', join(dir, 'VM.toml'), '--out', out], { timeoutMs: 120_000 });
  await record.printed('guest# ');
  record.child.stdin?.write('ping -c 3 -W 5 10.0.2.2 | grep received\n');
  await record.printed('3 packets received');
  record.child.stdin?.write('exit\n');
  assert.is((await record.done).code, 0);

  const { code, json, stderr } = await runJson(['replay', out, '--verify']);
  assert.is(code, 0, stderr);
  assert.is(json.verified, true);
  assert.is(json.console_identical, true);
});

user('a packet that is no frame reaches no device: the replay ends with its length', async () => {
  const inputs = await runJson(['inspect', out, '--kind', 'net_in']);
  const [packet] = inputs.json.list as { ordinal: number }[];
  assert.ok(packet, 'the log has a packet for the guest');
  for (const bytes of [0, 4, 13, 70_000]) {
    const { code, json, stderr } = await runJson(['replay', out], {
      env: { UNDERSTUDY_FAULT: `short:${packet.ordinal}:${bytes}` },
    });
    assert.is(code, 10, stderr);
    assert.match(JSON.stringify(json), `a packet for nic 0 has ${bytes} bytes`);
  }
});

user.run();
