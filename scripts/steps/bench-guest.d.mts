// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** The reference guest's initrd with the benchmarks' init (rdinit=/init.bench). */
export function benchInitrd(progress: Progress): Promise<string>;
/** An empty ext4 of so many MiB; copy it, never use it in place. */
export function benchDisk(mib: number, progress: Progress): Promise<string>;
/** A disk with a Debian system; `host`: a folder of programs to run against it. */
export function benchSystem(
  name: 'compile' | 'services',
  progress: Progress,
): Promise<{ image: string; host: string }>;
