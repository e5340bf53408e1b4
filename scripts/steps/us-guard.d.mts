// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** Compiles the guard for guests unless the cache has it; its path. */
export function guardStep(progress: Progress): Promise<string>;
