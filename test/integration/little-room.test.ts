// SPDX-License-Identifier: Apache-2.0
/**
 * Replays whose folder for temporary files has little room: they say so, name the folder,
 * and leave nothing there. What a killed one left, the next one removes.
 */
import { mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson, scratch, start } from '../lib/command.ts';
import { referenceGuest } from '../lib/workloads.ts';

const dir = scratch('little-room');
const guest = await referenceGuest();
const recording = join(dir, 'recording');
const NOISE_BYTES = 24 * 2 ** 20;
const littleRoom = suite('little room for temporary files');

littleRoom.before(async () => {
  const image = join(dir, 'disk.raw');
  // Some of it, and the guest writes as much again.
  writeFileSync(image, Buffer.alloc(NOISE_BYTES, 'noise'));
  writeFileSync(image, Buffer.alloc(NOISE_BYTES), { flag: 'a' });
  const toml = join(dir, 'VM.toml');
  writeFileSync(
    toml,
    `name = "room"\nmemory = "128M"\nkernel = ${JSON.stringify(guest.kernel)}\n` +
      `initrd = ${JSON.stringify(guest.initrd)}\nappend = "${guest.append} us.run=shell"\n` +
      '[[disk]]\nimage = "disk.raw"\n',
  );
  const running = start(['record', toml, '--out', recording]);
  await running.printed('guest# ');
  running.child.stdin?.write(
    'dd if=/dev/urandom of=/dev/vda bs=1M count=24 seek=24 conv=fsync; exit\n',
  );
  const { code, stderr } = await running.done;
  assert.is(code, 0, stderr);
});

/** With a $TMPDIR of its own, and what is left there afterwards. */
function inRoomOf(mib: number, ...words: string[]) {
  const folder = mkdtempSync(join(dir, 'tmp-'));
  const script =
    `mount -t tmpfs -o size=${mib}m none "${folder}" || exit 99; "$@"; code=$?; ` +
    `ls -A "${folder}" | sed 's/^/left: /' >&2; exit $code`;
  return run(words, {
    prefix: ['unshare', '--mount', 'sh', '-c', script, 'sh'],
    env: { TMPDIR: folder },
  });
}

for (const words of [
  ['replay', recording],
  ['replay', recording, '--bisect'],
]) {
  littleRoom(
    `${words.filter((word) => word !== recording).join(' ')}: before it begins`,
    async () => {
      const { code, stdout, stderr } = await inRoomOf(8, ...words);
      assert.is(code, 1, stdout + stderr);
      assert.match(
        stderr,
        /tmp-\w+: the copies of 1 disk\(s\) take \d+ MiB, and only \d+ MiB are free/,
      );
      assert.match(stderr, /TMPDIR=/);
      assert.not.match(stderr, /left:/);
    },
  );
}

littleRoom('and when it is used up on the way', async () => {
  const { code, stderr } = await inRoomOf(36, 'replay', recording);
  assert.is(code, 1, stderr);
  assert.match(
    stderr,
    /tmp-\w+: disk\d: No space left on device, [^.]*\. A replay works on copies of the disks there/,
  );
  assert.not.match(stderr, /left:/);
});

littleRoom('what a killed one left is removed by the next, and no other', async () => {
  const folder = mkdtempSync(join(dir, 'tmp-'));
  const env = { TMPDIR: folder };
  const killed = start(['replay', recording], { env });
  while (readdirSync(folder).length === 0) await new Promise((wake) => setTimeout(wake, 20));
  const [name = ''] = readdirSync(folder);
  while (!readdirSync(join(folder, name)).includes('owner')) {
    await new Promise((wake) => setTimeout(wake, 20));
  }
  const { code: beside } = await runJson(['replay', recording, '--until', '1000'], { env });
  assert.is(beside, 0);
  assert.ok(statSync(join(folder, name)).isDirectory(), 'it lives');
  killed.child.kill('SIGKILL');
  await killed.done;
  assert.equal(readdirSync(folder), [name]);
  mkdirSync(join(folder, 'understudy-replay-others'));
  const { code } = await runJson(['replay', recording, '--until', '1000'], { env });
  assert.is(code, 0);
  assert.equal(readdirSync(folder), ['understudy-replay-others']);
});

littleRoom.run();
