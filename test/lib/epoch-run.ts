// SPDX-License-Identifier: Apache-2.0
/** A guest from power-on to its end, whose epochs are taken into an image as they come. */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { EpochNumbers, ExitRing } from '../../native/kvm-exit-log/index.ts';
import { Epochs, type TakenEpoch } from '../../native/kvm-exit-log/testing.ts';
import { readDigest } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { type AccelName, DEFAULT_ACCEL } from '../../src/vm/accel/registry.ts';
import { cutsOf, type Digest, EpochVm, type LoggedCut, MS, makeDisk } from './epoch-vm.ts';

/** A cut every few milliseconds, and a digest of each. */
export const OFTEN: EpochNumbers = {
  everyNs: 10n * MS,
  packetNs: 2n * MS,
  inFlight: 2,
  digests: true,
};

export interface EpochRunOptions {
  readonly numbers?: EpochNumbers;
  readonly vcpus?: number;
  readonly accel?: AccelName;
  /** Typed when the guest's shell asks for it. */
  readonly script?: string;
  readonly fault?: string;
  /** Instead of the guest's own. */
  readonly initrd?: string;
}

export interface EpochRun {
  /** Bytes that the copy of the disk takes more than at power-on. */
  readonly grown: number;
  readonly taken: readonly TakenEpoch[];
  readonly cuts: ReadonlyMap<bigint, LoggedCut>;
  /** A digest of all memory, when the guest had ended. */
  readonly last: Digest | null;
  readonly status: ReturnType<ExitRing['status']>;
}

/** @param dir is made, and its own */
export async function runEpochs(
  dir: string,
  words: string,
  { numbers = OFTEN, vcpus = 1, accel = DEFAULT_ACCEL, script = '', ...rest }: EpochRunOptions = {},
): Promise<EpochRun> {
  mkdirSync(dir);
  const disk = makeDisk(dir);
  const copy = makeDisk(dir, 'copy.raw');
  const before = allocated(copy);
  const vm = await EpochVm.start({ dir, words, numbers, vcpus, accel, ...rest });
  const image = new Epochs(vm.ring, { memoryBytes: 0, disks: [copy] });
  vm.logs();
  const taken: TakenEpoch[] = [];
  const take = (): void => {
    for (let one = image.take(); one !== null; one = image.take()) taken.push(one);
  };
  try {
    await untilItEnds(vm, take, script);
  } catch (error) {
    image.close();
    await vm.end();
    throw error;
  }
  take();
  const status = vm.ring.status();
  await vm.settle();
  const records = await vm.records();
  image.close();
  await vm.end();
  assert.ok(readFileSync(copy).equals(readFileSync(disk)), 'both disks are the same');
  const digest = records.findLast(({ kind }) => kind === KIND.DIGEST)?.payload;
  const last = digest === null || digest === undefined ? null : readDigest(digest);
  return { taken, cuts: cutsOf(records), last, status, grown: allocated(copy) - before };
}

/** @throws AssertionError where its end was none of its own */
async function untilItEnds(vm: EpochVm, take: () => void, script: string): Promise<void> {
  let typed = script === '';
  while (vm.exit === null) {
    if (!typed && vm.console.includes('guest# ')) {
      vm.type(script);
      typed = true;
    }
    take();
    await sleep(1);
  }
  assert.is(vm.exit.reason, 'ended', JSON.stringify(vm.exit).slice(0, 500));
}

function allocated(path: string): number {
  return statSync(path).blocks * 512;
}
