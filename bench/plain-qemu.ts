// SPDX-License-Identifier: Apache-2.0
/** The unpatched QEMU, built when it is asked for first, and then cached. */
import { Progress } from '#scripts/lib/progress.mjs';
import { plainQemu as build } from '#scripts/steps/qemu.mjs';

let found: Promise<string> | null = null;

/**
 * UNDERSTUDY_PLAIN_QEMU names another one: without `-exitlog` even the patched one will do
 * where nothing is to be measured.
 * @returns its binary. @throws when it cannot be built here
 */
export function plainQemu(): Promise<string> {
  const override = process.env.UNDERSTUDY_PLAIN_QEMU;
  if (override !== undefined && override !== '') return Promise.resolve(override);
  found ??= build(new Progress({ quietDone: true }));
  return found;
}
