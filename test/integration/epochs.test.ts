// SPDX-License-Identifier: Apache-2.0
/**
 * Epochs of a running guest: what goes through the ring of state makes an image that is,
 * at each cut, the guest's memory, and at the end its disk.
 *
 *   npm test integration/epochs
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { type EpochRun, type EpochRunOptions, OFTEN, runEpochs } from '../lib/epoch-run.ts';

const epochs = suite('epochs');
const root = scratch('epochs');

const FILE_BYTES = 40 * 65536;
/** Blocks that were written are free again, and read as zeros. */
const DISCARD =
  'mount -o remount,discard /data; for f in a b c; do dd if=/dev/urandom of=/data/$f bs=64k ' +
  'count=40 conv=fsync; done; rm /data/a; sync; rm /data/c; sync; exit\n';

/** Three processes fill memory, and the fourth a file. */
const BUSY =
  'for n in 1 2 3; do sort -S 8M /bin/busybox >/dev/null & done; for n in 1 2 3 4 5 6; do ' +
  'dd if=/dev/urandom of=/data/a bs=16k count=20 oflag=sync; done; wait; exit\n';

function equalAtEachCut({ taken, cuts, last, status }: EpochRun, epochsMin: number): void {
  assert.ok(taken.length >= epochsMin, `${taken.length} epochs`);
  assert.is(taken.length, cuts.size);
  assert.is(taken.length, Number(status.epochs));
  taken.forEach(({ number, ordinal, ramDigest }, at) => {
    assert.is(number, BigInt(at + 1));
    assert.is(ramDigest, cuts.get(ordinal)?.digest?.ram, `epoch ${number} of ${taken.length}`);
  });
  assert.is(taken.at(-1)?.ramDigest, last?.ram, 'all of the memory, at the end');
  const { epochs: count, epochPages, epochPauseNs, epochPauseNsP99 } = status;
  const bytes = taken.reduce((sum, one) => sum + one.bytes, 0);
  console.log(
    `  ${count} epochs, ${epochPages / count} pages and ${Math.round(bytes / taken.length)} bytes ` +
      `each, pause ${Number(epochPauseNs / count) / 1e6} ms, 99 % at most ` +
      `${Number(epochPauseNsP99) / 1e6} ms; digests are in it`,
  );
}

function run(name: string, words: string, options: EpochRunOptions = {}): Promise<EpochRun> {
  return runEpochs(join(root, name), words, options);
}

epochs('a guest that writes to its disk', async () => {
  equalAtEachCut(await run('disk', 'us.run=iozone-fsync us.args=8m'), 50);
});

epochs('digests of what is copied, and nearly none in the pause', async () => {
  const numbers = { ...OFTEN, digests: 2 };
  equalAtEachCut(await run('copied', 'us.run=iozone-fsync us.args=8m', { numbers }), 50);
});

epochs('four vCPUs, O_SYNC', async () => {
  equalAtEachCut(await run('vcpus', 'us.run=iozone-osync us.args=1m', { vcpus: 4 }), 50);
});

epochs('four vCPUs with threads of their own: all of them store, and O_SYNC', async () => {
  const varied = { vcpus: 4, accel: 'tcg-multi', script: BUSY } as const;
  equalAtEachCut(await run('multi', 'us.run=shell', varied), 50);
});

epochs('discards', async () => {
  const all = await run('discard', 'us.run=shell', { script: DISCARD });
  equalAtEachCut(all, 20);
  // One of the three files is left, and what the file system wrote beside it.
  assert.ok(all.grown > FILE_BYTES && all.grown < 2 * FILE_BYTES, `${all.grown} bytes more`);
});

epochs.run();
