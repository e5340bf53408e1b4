// SPDX-License-Identifier: Apache-2.0
/** Whether both sides of a pair see the same arbiter. */
import { UnderstudyError } from '../base/errors.ts';
import { type Arbiter, describeHolder } from './arbiter.ts';

/**
 * Asks the arbiter for the VM whose primary said that it holds `term`.
 * @param vmId 32 hex digits
 * @returns false: a later term has been claimed since, and what that primary said is old
 * @throws UnderstudyError arbiter-unreachable when it does not answer, or is another one
 */
export async function isCurrentTerm(
  arbiter: Arbiter,
  vmId: string,
  term: number,
): Promise<boolean> {
  if (!arbiter.shared) return true;
  const holder = await arbiter.holder(vmId);
  if (holder !== null && 'unreachable' in holder) {
    throw new UnderstudyError('arbiter-unreachable', holder.unreachable);
  }
  if (holder === null || holder.term < term) {
    throw new UnderstudyError(
      'arbiter-unreachable',
      `the arbiter ${arbiter.name} does not know this VM's primary (it says: ` +
        `${describeHolder(holder)}): both sides must use the same shared folder`,
    );
  }
  return holder.term === term;
}
