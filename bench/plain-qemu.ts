// SPDX-License-Identifier: Apache-2.0
/** The unpatched QEMU, built when it is asked for first, and then cached. */
import { Progress } from '#scripts/lib/progress.mjs';
import { plainQemu as build } from '#scripts/steps/qemu.mjs';

let found: Promise<string> | null = null;

/** @returns its binary. @throws when it cannot be built here */
export function plainQemu(): Promise<string> {
  found ??= build(new Progress({ quietDone: true }));
  return found;
}
