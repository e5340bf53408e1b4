// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** Builds the guest with Redis and the guard in it unless the cache has it. */
export function guardedGuest(progress: Progress): Promise<{ initrd: string; words: string }>;
