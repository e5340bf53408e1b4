// SPDX-License-Identifier: Apache-2.0
import type { Progress } from '../lib/progress.mjs';

/** Builds the unpatched QEMU unless the cache has it; its binary. */
export function plainQemu(progress: Progress): Promise<string>;

/** Builds the QEMU with COLO unless the cache has it; its binary. */
export function coloQemu(progress: Progress): Promise<string>;

/** The patched QEMU's build tree as this checkout has it: its directory, with `src` and `build`. */
export function patchedTree(progress: Progress): Promise<string>;
