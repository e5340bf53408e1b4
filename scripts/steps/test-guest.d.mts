// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** Builds the test guest (generic kernel) unless the cache has it; its paths. */
export function testGuest(
  progress: Progress,
): Promise<{ kernel: string; initrd: string; append: string }>;
