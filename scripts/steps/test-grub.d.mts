// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** GRUB for a BIOS, from Debian's packages, unless the cache has it; its paths. */
export function testGrub(progress: Progress): Promise<{
  /** The first sector's code. */
  boot: string;
  /** What follows it up to the first partition. */
  core: string;
  /** Modules, as /boot/grub/i386-pc has them. */
  modules: string;
  font: string;
}>;
