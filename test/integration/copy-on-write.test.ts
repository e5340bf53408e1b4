// SPDX-License-Identifier: Apache-2.0
/**
 * An epoch's memory is copied while the guest runs on, and has nothing that was written after
 * the cut. Each way in which memory is written, and each that notes it, is tried: first as it
 * is, then without its hook (qemu/exitlog/verify/fault-copy.c), which has to be seen.
 *
 *   npm test integration/copy-on-write
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EpochNumbers } from '../../native/kvm-exit-log/index.ts';
import { scratch } from '../lib/command.ts';
import { type EpochRun, type EpochRunOptions, OFTEN, runEpochs } from '../lib/epoch-run.ts';

const cow = suite('copy-on-write');
const root = scratch('copy-on-write');

/** Writes to memory and to its disk. */
const GUEST = 'us.run=iozone-fsync us.args=1m';
/** The writers in fault-copy.c; who notes that something was written is in `NOTES`. */
const WRITERS = 'cpu dma stb stw stl stl-notdirty stq rom map late-map cache'.split(' ');
const NOTES = ['notes-cpu', 'notes-device'];

/** Epochs whose image is not the guest's memory at their cut, as it was hashed there. */
function differing({ taken, cuts }: EpochRun): bigint[] {
  const wrong = taken.filter((one) => one.ramDigest !== cuts.get(one.ordinal)?.digest?.ram);
  return wrong.map(({ number }) => number);
}

for (const vcpus of [1, 4]) {
  cow(`writes of every kind while an epoch is copied, ${vcpus} vCPUs`, async () => {
    const all = await runEpochs(join(root, `all-${vcpus}`), GUEST, { vcpus, fault: 'copy:all' });
    assert.ok(all.taken.length > 2 * WRITERS.length, `${all.taken.length} epochs`);
    assert.equal(differing(all), []);
    assert.is(all.taken.at(-1)?.ramDigest, all.last?.ram, 'all of the memory, at the end');
  });
}

/** Digests, and what runs before the next cut, would come between. */
const FAST: EpochNumbers = { ...OFTEN, digests: false };

for (const [name, shape] of Object.entries<EpochRunOptions>({
  '1 vCPU': { vcpus: 1, numbers: FAST },
  '4 vCPUs with threads of their own': { vcpus: 4, accel: 'tcg-multi', numbers: FAST },
})) {
  cow(`each page is copied as it was at its cut, ${name}`, async () => {
    const run = await runEpochs(join(root, `check-${name}`), GUEST, {
      ...shape,
      fault: 'copy:check',
    });
    assert.ok(run.taken.length > 50, `${run.taken.length} epochs`);
  });
}

cow('unhooked: a page that is copied too late is named', async () => {
  const options = { numbers: FAST, fault: 'copy:check:unhooked' };
  try {
    await runEpochs(join(root, 'check-unhooked'), GUEST, options);
  } catch (error) {
    assert.match(String(error), /an epoch has page [0-9a-f]+ of main memory with/);
    return;
  }
  assert.unreachable('all pages were as at their cut');
});

for (const writer of WRITERS) {
  cow(`unhooked: ${writer}`, async () => {
    const run = await runEpochs(join(root, writer), GUEST, { fault: `copy:${writer}:unhooked` });
    const wrong = differing(run).length;
    console.log(`  ${wrong} of ${run.taken.length} epochs have what was written after their cut`);
    assert.ok(wrong > 0, 'an epoch has what was written after its cut');
  });
}

for (const who of NOTES) {
  cow(`unhooked: ${who}`, async () => {
    const run = await runEpochs(join(root, who), GUEST, { fault: `copy:${who}:unhooked` });
    assert.is.not(run.taken.at(-1)?.ramDigest, run.last?.ram, 'the image lacks what nobody noted');
  });
}

cow.run();
