// SPDX-License-Identifier: Apache-2.0
/**
 * The `lockstep-epoch` protocol: the guest runs for so many instructions, then its log is
 * sealed, and it waits until the backup holds it. What Bressoud & Schneider began with
 * ("Hypervisor-based Fault-tolerance", TOCS 14(1), 1996), to be compared with.
 *
 * Two things differ from theirs. Inputs are delivered where they come, not at the end of
 * the epoch, so outputs wait for an ack as in `lockstep`; and as a guest that idles has no
 * instructions to count, what waits is sealed after batch_us_max at the latest.
 */
import { lockstepSealPolicy } from './lockstep.ts';
import type { SealPolicy } from './policy.ts';

export interface LockstepEpochOptions {
  /** An output of an idle guest waits at most this long for its batch. */
  readonly batchUsMax: number;
  readonly epochInstructions: number;
}

export function lockstepEpochSealPolicy(options: LockstepEpochOptions): SealPolicy {
  const { numbers } = lockstepSealPolicy(options);
  const { epochInstructions } = options;
  return { name: 'lockstep-epoch', numbers: { ...numbers, epochInstructions } };
}
