// SPDX-License-Identifier: Apache-2.0
/**
 * An epoch for which the journal's file system has no room, then one for which it has: DIR, in a
 * mount namespace of its own. It mounts that file system itself: no shell starts with TSan's library
 * in it.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { redoDisks } from '../../native/kvm-exit-log/index.ts';
import { openJournal } from '../../native/kvm-exit-log/testing.ts';
import { DISK_BYTES, DiskSteps, stepsOf } from './disk-steps.ts';

const [dir = ''] = process.argv.slice(2);
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'none', dir]);
const disks = ['a.raw', 'b.raw'].map((name) => join(dir, name));
for (const path of disks) writeFileSync(path, Buffer.alloc(DISK_BYTES, 0xd1));
const journal = openJournal(disks, true);
const all = new DiskSteps();
for (const step of stepsOf(1)) all.play(journal, step);
const size = () => statSync(`${disks[0]}.journal`).size;
const before = size();
const much = Array.from({ length: 64 }, () => [0, 0, 4096, Buffer.alloc(4096, 9)] as const);
try {
  journal.prepare(2, much);
  assert.unreachable('it had room');
} catch (error) {
  const { code, message } = error as { code: string; message: string };
  console.log(`${code} ${message}`);
}
assert.is(size(), before, 'what was begun of it takes no room');
// The guest's epoch is lost with its backup; a smaller one would do.
for (const step of stepsOf(2).slice(stepsOf(1).length)) all.play(journal, step);
assert.is(redoDisks(disks)?.last, 2);
const model = all.model(2);
disks.forEach((path, i) => {
  assert.ok(readFileSync(path).equals(model[i] ?? Buffer.alloc(0)));
});
