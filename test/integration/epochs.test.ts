// SPDX-License-Identifier: Apache-2.0
/**
 * Epochs of a running guest: what goes through the ring of state makes an image that is,
 * at each cut, the guest's memory, and at the end its disk.
 *
 *   npm test integration/epochs
 */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { EpochNumbers, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { Epochs, type TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { type AccelName, DEFAULT_ACCEL } from '../../src/vm/accel/registry.ts';
import { scratch } from '../lib/command.ts';
import { cutsOf, EpochVm, type LoggedCut, MS, makeDisk } from '../lib/epoch-vm.ts';

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

interface Run {
  /** Bytes that the copy of the disk takes more than at power-on. */
  readonly grown: number;
  readonly taken: readonly TakenEpoch[];
  readonly cuts: ReadonlyMap<bigint, LoggedCut>;
  readonly status: ReturnType<ExitRing['status']>;
}

/** What differs from VM to VM. */
interface Varied {
  readonly vcpus: number;
  /** Typed when the guest asks for a command. */
  readonly script: string;
  readonly accel: AccelName;
}

/** Starts a VM whose epochs are cut so, takes them as they come, until it ends. */
async function run(
  name: string,
  words: string,
  numbers: EpochNumbers,
  { vcpus = 1, script = '', accel = DEFAULT_ACCEL }: Partial<Varied> = {},
): Promise<Run> {
  const dir = join(root, name);
  mkdirSync(dir);
  const disk = makeDisk(dir);
  const copy = makeDisk(dir, 'copy.raw');
  const before = allocated(copy);
  const vm = await EpochVm.start({ dir, words, numbers, vcpus, accel });
  const image = new Epochs(vm.ring, { memoryBytes: 0, disks: [copy] });
  vm.logs();
  const taken: TakenEpoch[] = [];
  let typed = script === '';
  for (;;) {
    if (!typed && vm.console.includes('guest# ')) {
      vm.type(script);
      typed = true;
    }
    const wasEnded = vm.exit !== null;
    for (let one = image.take(); one !== null; one = image.take()) taken.push(one);
    if (wasEnded) break;
    await sleep(1);
  }
  assert.is(vm.exit?.reason, 'ended', JSON.stringify(vm.exit).slice(0, 500));
  const status = vm.ring.status();
  await vm.settle();
  const cuts = cutsOf(await vm.records());
  image.close();
  await vm.end();
  assert.ok(readFileSync(copy).equals(readFileSync(disk)), 'both disks are the same');
  return { taken, cuts, status, grown: allocated(copy) - before };
}

function allocated(path: string): number {
  return statSync(path).blocks * 512;
}

function equalAtEachCut({ taken, cuts, status }: Run, epochsMin: number): void {
  assert.ok(taken.length >= epochsMin, `${taken.length} epochs`);
  assert.is(taken.length, cuts.size);
  assert.is(taken.length, Number(status.epochs));
  taken.forEach(({ number, ordinal, ramDigest }, at) => {
    assert.is(number, BigInt(at + 1));
    assert.is(ramDigest, cuts.get(ordinal)?.digest?.ram, `epoch ${number} of ${taken.length}`);
  });
  const { epochs: count, epochPages, epochPauseNs, epochPauseNsMax } = status;
  const bytes = taken.reduce((sum, one) => sum + one.bytes, 0);
  console.log(
    `  ${count} epochs, ${epochPages / count} pages and ${Math.round(bytes / taken.length)} bytes ` +
      `each, pause ${Number(epochPauseNs / count) / 1e6} ms, at most ` +
      `${Number(epochPauseNsMax) / 1e6} ms; digests are in it`,
  );
}

const OFTEN: EpochNumbers = { everyNs: 10n * MS, packetNs: 2n * MS, inFlight: 2, digests: true };

epochs('a guest that writes to its disk', async () => {
  equalAtEachCut(await run('disk', 'us.run=iozone-fsync us.args=8m', OFTEN), 50);
});

epochs('four vCPUs, O_SYNC', async () => {
  equalAtEachCut(await run('vcpus', 'us.run=iozone-osync us.args=1m', OFTEN, { vcpus: 4 }), 50);
});

epochs('four vCPUs with threads of their own: all of them store, and O_SYNC', async () => {
  const varied = { vcpus: 4, accel: 'tcg-multi', script: BUSY } as const;
  equalAtEachCut(await run('multi', 'us.run=shell', OFTEN, varied), 50);
});

epochs('discards', async () => {
  const all = await run('discard', 'us.run=shell', OFTEN, { script: DISCARD });
  equalAtEachCut(all, 20);
  // One of the three files is left, and what the file system wrote beside it.
  assert.ok(all.grown > FILE_BYTES && all.grown < 2 * FILE_BYTES, `${all.grown} bytes more`);
});

epochs.run();
