// SPDX-License-Identifier: Apache-2.0
/** What the guests of the workloads are made of, each part made once and cached. */
import { Progress } from '#scripts/lib/progress.mjs';
import { benchDisk, benchInitrd, benchSystem } from '#scripts/steps/bench-guest.mjs';
import type { VmSpec } from '../systems/system.ts';
import { referenceGuest } from '../systems/vm.ts';

/** Room for what takes long enough to measure. */
const DISK_MIB = 512;

function progress(): Progress {
  return new Progress({ quietDone: true });
}

/** The reference guest as it is, with room on its disk. @param words for guest/init */
export async function referenceVm(words: string): Promise<VmSpec> {
  return { words, initrd: referenceGuest().initrd, disk: await benchDisk(DISK_MIB, progress()) };
}

/** A guest with the bench's init and an empty disk. */
export async function emptyGuest(words: string): Promise<VmSpec> {
  const initrd = await benchInitrd(progress());
  return { words: rooted(words), initrd, disk: await benchDisk(DISK_MIB, progress()) };
}

/** A guest whose disk has a Debian system. `host`: programs to run against it. */
export async function systemGuest(
  name: 'compile' | 'services',
  words: string,
): Promise<{ spec: VmSpec; host: string }> {
  const initrd = await benchInitrd(progress());
  const { image, host } = await benchSystem(name, progress());
  return { spec: { words: rooted(words), initrd, disk: image }, host };
}

function rooted(words: string): string {
  return `rdinit=/init.bench ${words}`;
}
