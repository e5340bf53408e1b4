// SPDX-License-Identifier: Apache-2.0
/** Finds an accelerator by its name. */
import { UnderstudyError } from '../../base/errors.ts';
import type { Accel } from './accel.ts';
import * as accels from './accels.ts';

export type AccelName = keyof typeof accels;

const ACCELS: Readonly<Record<AccelName, Accel>> = accels;
export const ACCEL_NAMES = Object.keys(ACCELS) as readonly AccelName[];
export const DEFAULT_ACCEL: AccelName = 'tcg';

export function accelByName(name: AccelName): Accel {
  return ACCELS[name];
}

/**
 * Refuses what executes a log again, or makes one for that.
 * @throws UnderstudyError not-exact
 */
export function checkExact(vm: { readonly file: string; readonly accel: AccelName }, what: string) {
  const { isExact, name } = accelByName(vm.accel);
  if (isExact) return;
  throw new UnderstudyError(
    'not-exact',
    `${vm.file}: accel = "${name}" is not for ${what}: nothing counts instructions, so nobody ` +
      `could execute it again; take accel = "${DEFAULT_ACCEL}"`,
  );
}
