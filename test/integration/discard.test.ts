// SPDX-License-Identifier: Apache-2.0
/**
 * A guest that discards: its images are freed on both sides and equal, and a checkpoint of
 * a large disk stays small.
 *
 *   SEED=N npm test integration/discard
 */
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '../../scripts/lib/progress.mjs';
import { testGuest } from '../../scripts/steps/test-guest.mjs';
import { checkpointsOf, manifestOf, verifyFrom } from '../lib/checkpoints.ts';
import { scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { PLAIN, recordAndReplay, referenceGuest, type Shape, WORKLOADS } from '../lib/workloads.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/discard`;
const dir = scratch('discard');
const guest = await referenceGuest();
const workload = WORKLOADS.find(({ name }) => name === 'discard');
assert.ok(workload !== undefined);
/** What the guest writes after it has discarded all. */
const LEFT_BYTES = 8 * 65536;
const discard = suite('discard');

const SHAPES: readonly Shape[] = [
  { ...PLAIN, devices: 'scsi' },
  { ...PLAIN, devices: 'legacy' },
  { ...PLAIN, machine: 'q35', devices: 'legacy' },
];
for (const shape of SHAPES) {
  discard(`replays exactly, and frees the image: ${shape.machine}, ${shape.devices}`, async () => {
    const folder = join(dir, `${shape.machine}-${shape.devices}`);
    const result = await recordAndReplay(workload, { dir: folder, guest, seed, shape });
    assert.ok(result.ok, `${result.failure}\n${again}`);
    const bytes = statSync(join(folder, 'second.raw')).blocks * 512;
    assert.ok(bytes <= 2 * LEFT_BYTES, `${bytes} bytes of the image are not free`);
  });
}

discard('16 GiB: checkpoints stay small and exact', async () => {
  const large = {
    ...workload,
    secondDisk: 16 * 1024, // what costs time is hashing its zeros
    us: () => 'us.test=discard us.count=2 us.disk=1 us.run=poweroff',
  };
  const folder = join(dir, 'large');
  const checkpointEvery = '400ms';
  const result = await recordAndReplay(large, { dir: folder, guest, seed, checkpointEvery });
  assert.ok(result.ok, `${result.failure}\n${again}`);
  const recording = join(folder, 'recording');
  for (const icount of checkpointsOf(recording)) {
    const { bytes } = manifestOf(recording, icount);
    assert.ok(bytes < 64 * 2 ** 20, `the checkpoint at ${icount} has ${bytes} bytes`);
  }
  const last = checkpointsOf(recording).at(-1) ?? '';
  const disk = statSync(join(recording, 'checkpoints', last, 'disk1')).size;
  assert.ok(disk < 2 ** 20, `after all was discarded, ${disk} bytes are stored`);
  const { failure } = await verifyFrom(recording, last);
  assert.is(failure, null, `from ${last}: ${failure}\n${again}`);
});

discard('fstrim of a protected guest frees the image of both sides', async () => {
  const { kernel, initrd, append } = await testGuest(new Progress({ quietDone: true }));
  const words = `${guest.append} ${append} us.test=trim`;
  const pair = Pair.start(join(dir, 'pair'), { ...guest, kernel, initrd, append: words }, []);
  const image = (side: 'primary' | 'backup'): string => join(dir, 'pair', side, 'disk.raw');
  try {
    await pair.until(
      'it has trimmed',
      () => pair.console('primary').includes('done trim'),
      120_000,
    );
    await pair.until(
      'the service listens',
      () => pair.console('primary').includes('listening'),
      120_000,
    );
    pair.signal('primary', 'SIGTERM');
    await Promise.all([pair.ended('primary'), pair.ended('backup')]);
    for (const side of ['primary', 'backup'] as const) {
      const bytes = statSync(image(side)).blocks * 512;
      assert.ok(bytes < 20 * 2 ** 20, `${bytes} bytes of the ${side}'s image are not free`);
    }
    execFileSync('cmp', [image('primary'), image('backup')]);
  } finally {
    await pair.end();
  }
});

discard.run();
