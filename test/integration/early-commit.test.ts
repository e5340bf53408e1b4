// SPDX-License-Identifier: Apache-2.0
/**
 * A packet whose record is committed before the packet is held: it leaves at once, not when the io
 * thread looks next. gdb stops the vCPU's thread in that moment, which lasts nanoseconds.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { childOf } from '../lib/child-of.ts';
import { runJson, scratch, start } from '../lib/command.ts';
import { killWithGdb } from '../lib/gdb.ts';
import { referenceGuest } from '../lib/workloads.ts';

/** For the recorder, which has nothing else to do: it writes and commits within milliseconds. */
const COMMIT_S = 0.5;

test('the sender wakes who sends it', async () => {
  const dir = scratch('early-commit');
  const guest = await referenceGuest();
  const append = `${guest.append} us.run=shell us.ip=10.0.2.15/24 us.gw=10.0.2.2`;
  const lines = [
    'name = "early-commit"',
    `kernel = ${JSON.stringify(guest.kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(append)}`,
    '[[nic]]',
    'user = true',
  ];
  const file = join(dir, 'VM.toml');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const out = join(dir, 'recording');
  const record = start(['record', file, '--out', out], { timeoutMs: 120_000 });
  await record.printed('guest# ');
  await killWithGdb({
    pid: childOf(record.child.pid, 'qemu'),
    stops: [
      { at: '*exitlog_net_hold', does: `shell sleep ${COMMIT_S}` },
      { at: '*exitlog_io_wake', when: '$_caller_is("net_receive_iov")' },
    ],
    passage: 1,
    armed: () => record.child.stdin?.write('ping -c 1 -W 5 10.0.2.2 | grep received\n'),
    before: 'true',
    spared: true,
    script: join(dir, 'gdb'),
    timeoutMs: 30_000,
  });
  await record.printed('1 packets received');
  record.child.stdin?.write('exit\n');
  const { code, stderr } = await record.done;
  assert.is(code, 0, stderr);
  const { json } = await runJson(['replay', out, '--verify']);
  assert.is(json.verified, true);
});

test.run();
