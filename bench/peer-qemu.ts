// SPDX-License-Identifier: Apache-2.0
/** The QEMUs that ours is measured against, each built when it is asked for first, then cached. */
import { Progress } from '#scripts/lib/progress.mjs';
import { coloQemu as buildColo, plainQemu as buildPlain } from '#scripts/steps/qemu.mjs';

/** By variable: what was found or is being built. */
const found = new Map<string, Promise<string>>();

/**
 * The unpatched QEMU. UNDERSTUDY_PLAIN_QEMU names another one: without `-exitlog` even the
 * patched one will do where nothing is to be measured.
 * @returns its binary. @throws when it cannot be built here
 */
export function plainQemu(): Promise<string> {
  return given('UNDERSTUDY_PLAIN_QEMU', buildPlain);
}

/**
 * The same source configured with COLO, with the one patch that it takes under TCG.
 * UNDERSTUDY_COLO_QEMU names another one.
 * @returns its binary. @throws when it cannot be built here
 */
export function coloQemu(): Promise<string> {
  return given('UNDERSTUDY_COLO_QEMU', buildColo);
}

function given(variable: string, build: (progress: Progress) => Promise<string>): Promise<string> {
  const override = process.env[variable];
  if (override !== undefined && override !== '') return Promise.resolve(override);
  const binary = found.get(variable) ?? build(new Progress({ quietDone: true }));
  found.set(variable, binary);
  return binary;
}
